"""A stream of many windows: nothing is missing or doubled, and sound is with the picture (tests/bench/live_day.py)."""

from __future__ import annotations

import json
from pathlib import Path

from live_process import run
from long_stream import SEGMENT_S, WINDOW_S, apart_s, held, source

DURATION_S = 240.0


def test_after_many_windows_sound_is_with_the_picture_and_no_segment_is_missing(tmp_path: Path):
    done = run(tmp_path, *source(DURATION_S, fps=10), "--name", "day", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segments"] == DURATION_S / SEGMENT_S
    found = held(tmp_path / "day")
    assert found is not None
    assert found.listed[-1] + 1 == DURATION_S / SEGMENT_S and len(found.listed) == WINDOW_S / SEGMENT_S
    assert len(found.stored) == 2 * WINDOW_S / SEGMENT_S + 1, "older playlists lead to what is there"
    assert max(map(abs, apart_s(tmp_path / "day", found.listed))) < 0.040

"""A recorded live title is live again: the same segments, as if they came now."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from broadcast import Broadcast

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.title import segment_file
from abr.records import load
from client_player.live_demo.recording import Recording, Replay

HOUR_S = 3600.0


def test_a_replay_begins_with_the_first_moment_and_goes_on_to_the_last_on_the_clock_of_now(tmp_path: Path):
    cam = Broadcast(tmp_path / "library", lambda: time.time() - HOUR_S, window_s=60.0)
    recording = Recording(cam.folder)
    recording.look()
    assert recording.moments == [], "nothing is there yet"
    for _ in range(2):
        cam.send(3)
        recording.look()
        recording.look()
    assert len(recording.moments) == 2, "what did not change is one moment"
    before = load(cam.folder / TABLES_FILE, LiveTables)
    later_s = time.time() - recording.moments[0].at_s
    replay = Replay(recording, tmp_path / "again")
    tables = load(tmp_path / "again" / "cam" / TABLES_FILE, LiveTables)
    assert tables.end == 3 and tables.begun_s - before.begun_s == pytest.approx(later_s, abs=1.0)
    replay.run()
    tables = load(tmp_path / "again" / "cam" / TABLES_FILE, LiveTables)
    assert tables.end == 6 and tables.sizes == before.sizes
    for rung in tables.sizes:
        name = Path("video") / rung / segment_file(5)
        assert (tmp_path / "again" / "cam" / name).read_bytes() == (cam.folder / name).read_bytes()

"""The comparison with the ffmpeg command line is fair: both do the same work."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from titles import CLIP

from server.ingest.bench import bench_prepare


def test_both_sides_write_the_same_ladder() -> None:
    ran = CliRunner().invoke(bench_prepare, [str(CLIP), "--heights", "90,180", "--preset", "ultrafast", "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["ratio_vs_ffmpeg"] > 0
    assert found["rungs"] == ["160x90", "320x180"]
    assert len(found["toprung_runs"]) == len(found["ffmpeg_runs"]["auto"]) == len(found["ffmpeg_runs"]["1"]) == 3
    assert found["toprung_bytes"] == pytest.approx(found["ffmpeg_bytes"], rel=0.02)

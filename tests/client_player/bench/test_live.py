"""`toprung bench live`: what a real session comes to, beside what the simulator said of it before."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from titles import prepared_library, prepared_title
from viewers import FAST_MACHINE

from abr.simulation.trace_formats import dumps_sabre
from abr.simulation.traces import make
from abr.virtual_time import VirtualTimeLoop
from client_player.bench.live import bench_live
from client_player.session import run


def test_a_session_lands_near_its_forecast_and_the_report_says_how_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "VirtualTimeLoop", partial(VirtualTimeLoop, FAST_MACHINE))
    title, _ = prepared_title()
    path = tmp_path / "varied.json"
    path.write_text(dumps_sabre(make("varied", [(2.0, 1.5e6, 0.1), (2.0, 4e5, 0.1), (9.0, 2.5e6, 0.1)])))
    folder = prepared_library().root / title.id
    asked = ["--title", str(folder), "--traces", str(path), "--families", "none", "--controller", "bola", "--json"]
    result = CliRunner().invoke(bench_live, asked, catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    (line,) = report["lines"]
    assert line["difference"] == round(line["live"]["qoe"] - line["forecast"]["qoe"], 3) == report["worst"]
    assert line["alike"] == 1.0 and line["measured"] is False
    assert abs(line["live"]["startup_s"] - line["forecast"]["startup_s"]) < 0.6
    assert line["live"]["mbytes"] >= line["forecast"]["mbytes"], "manifests and tables count as well"
    assert abs(report["worst"]) <= 3.0 and report["within"] is True


def test_a_folder_without_a_title_is_said_in_a_sentence(tmp_path: Path) -> None:
    trace = tmp_path / "t.json"
    trace.write_text(dumps_sabre(make("t", [(2.0, 1.5e6, 0.1)])))
    result = CliRunner().invoke(bench_live, ["--title", str(tmp_path), "--traces", str(trace)])
    assert "is no title folder" in str(result.exception)

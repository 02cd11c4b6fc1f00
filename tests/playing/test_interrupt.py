"""Ctrl-C in the middle of a session: it ends at once, and what was seen until then is summed up and written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from titles import prepared_library

from client_player.serving import serving


@pytest.mark.slow
def test_an_interrupted_session_leaves_a_summary_and_a_report_that_say_so(tmp_path: Path) -> None:
    with serving(prepared_library().root) as url:
        asked = ["--families", "none", "--json", "--out", str(tmp_path / "out")]
        command = [sys.executable, "-m", "abr", "play", url, *asked]
        player = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert player.stderr is not None
        for line in player.stderr:
            if line.startswith("First frame"):
                break
        player.send_signal(signal.SIGINT)
        printed, talk = player.communicate(timeout=30)
    assert player.returncode == 130, talk
    assert "Traceback" not in talk
    summary = json.loads(printed)
    assert summary["ended"] == "stopped" and summary["partial"] is True
    assert summary["frames"] < 132
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert "stopped" in (tmp_path / "out" / "report.html").read_text()
    last = (tmp_path / "out" / "session.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["reason"] == "stopped"

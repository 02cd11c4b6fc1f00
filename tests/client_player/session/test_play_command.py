"""How `toprung play` ends: by Ctrl-C, at once and with all that was seen until then; with an error of a controller."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from click.testing import CliRunner
from faulty import Fault, faulty
from served import serving
from titles import prepared_library

from abr.errors import InputError
from client_player.cli import play


@pytest.mark.slow
async def test_an_interrupted_session_leaves_a_summary_and_a_report_that_say_so(tmp_path: Path) -> None:
    """The last segment never comes, so that the session is not over before the signal is there."""
    silence = Fault(path=r"/video/3\.m4s", kind="silent")
    async with serving(str(prepared_library().root)) as url, faulty(url, silence) as proxy:
        asked = ["--families", "none", "--json", "--out", str(tmp_path / "out")]
        player = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "abr", "play", proxy.url, *asked), stdout=PIPE, stderr=PIPE
        )
        assert player.stderr is not None
        async for line in player.stderr:
            if line.startswith(b"First frame"):
                break
        player.send_signal(signal.SIGINT)
        printed, talk = (output.decode() for output in await player.communicate())
    assert player.returncode == 130, talk
    assert "Traceback" not in talk
    summary = json.loads(printed)
    assert summary["ended"] == "stopped" and summary["partial"] is True
    assert summary["frames"] < 132
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert "stopped" in (tmp_path / "out" / "report.html").read_text()
    last = (tmp_path / "out" / "session.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["reason"] == "stopped"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["titles/film"], "give a URL that starts with http"),
        (["http://localhost:9/", "--codec", "h266"], "this player decodes"),
        (["http://localhost:9/", "--key-file", __file__], "is no file of content keys"),
    ],
)
def test_what_cannot_be_played_is_said_before_the_device_is_measured(
    asked: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    refused = CliRunner().invoke(play, asked)
    assert isinstance(refused.exception, InputError) and sentence in str(refused.exception)
    assert not list(tmp_path.iterdir()), "a profile lies here once it is measured"


@pytest.mark.slow
async def test_a_viewer_who_opted_in_is_told_when_the_server_takes_no_private_telemetry(tmp_path: Path) -> None:
    async with serving(str(prepared_library().root)) as url:
        asked = ["--families", "none", "--json", "--speed", "max", "--private-telemetry"]
        player = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "abr", "play", url, *asked), stdout=PIPE, stderr=PIPE
        )
        printed, talk = (output.decode() for output in await player.communicate())
    assert player.returncode == 0, talk
    assert talk.splitlines()[-1] == ("Private telemetry: not handed in; the server takes none.")
    assert json.loads(printed)["ended"] == "finished"


@pytest.mark.slow
async def test_a_session_whose_controller_failed_is_played_and_then_ends_with_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    def decide(self, seen):\n        raise RuntimeError('broke')\n")
    async with serving(str(prepared_library().root)) as url:
        asked = ["--families", "none", "--json", "--speed", "max", "--local", "--controller", f"{file}:Mine"]
        player = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "abr", "play", url, *asked), stdout=PIPE, stderr=PIPE
        )
        printed, talk = (output.decode() for output in await player.communicate())
    assert player.returncode == 1
    assert "failed 3 times, and the lowest rung played" in talk and "Traceback" not in talk
    assert json.loads(printed)["controller_failures"] == 3

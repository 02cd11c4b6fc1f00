"""Nothing phones home: name look-ups and connections of processes are watched, and what they leave in HOME."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WATCH = """
import os, socket, sys

def _watched(name, original):
    def told(*arguments, **options):
        with open(os.environ["WATCH_LOG"], "a") as log:
            log.write(f"{name} {arguments[-2:]}\\n")
        return original(*arguments, **options)
    return told

for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection"):
    setattr(socket, _name, _watched(_name, getattr(socket, _name)))

class _Socket(socket.socket):
    connect = _watched("connect", socket.socket.connect)
    connect_ex = _watched("connect_ex", socket.socket.connect_ex)
    sendto = _watched("sendto", socket.socket.sendto)

socket.socket = _Socket
"""
ENHANCE = """
import sys
import numpy as np
from pathlib import Path
from enhancers.networks import catalog
from enhancers.networks.checkpoint import loads_chunks
from enhancers.runtime.backends import runnable
from enhancers.runtime.backends.onnx_graph import dumps_onnx
from enhancers.runtime.loader import open_weights
from enhancers.runtime.onnx_check import loads_onnx
from enhancers.runtime.sample_pictures import make_pictures
import enhancers.measurement.peak, enhancers.training.trainer, client_player.session.run, server.app

weights = loads_chunks(catalog.generic_chunks(catalog.architecture(2, "low")))
sizes = {"size_px": (64, 36), "display_px": (128, 72)}
for backend in runnable():
    open_weights(weights, "", backend=backend, **sizes).enhance(make_pictures(64, 36)[0])
open_weights(loads_onnx(dumps_onnx(weights)), "", **sizes).enhance(make_pictures(64, 36)[0])
assert "openvino" in sys.modules and "torch" in sys.modules
"""


def _watch(folder: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """Run Python with these arguments; returns its look-ups and connections, and what it left in HOME."""
    home, log = folder / "home", folder / "log"
    home.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(WATCH)
    # without CI, where OpenVINO is silent anyway, and with nothing that says how to reach the outside
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "XDG_CACHE_HOME")}
    path = os.pathsep.join([str(folder), str(ROOT)])
    env = kept | {"HOME": str(home), "PYTHONPATH": path, "WATCH_LOG": str(log)}
    subprocess.run([sys.executable, *arguments], env=env, cwd=folder, capture_output=True, check=True)
    found = log.read_text().splitlines() if log.exists() else []
    return found, sorted(str(path.relative_to(home)) for path in home.iterdir())


def test_the_watch_sees_look_ups_and_connections(tmp_path: Path) -> None:
    code = "import socket; socket.getaddrinfo('localhost', 1); socket.socket().connect_ex(('127.0.0.1', 9))"
    found, _ = _watch(tmp_path, "-c", code)
    assert [line.split()[0] for line in found] == ["getaddrinfo", "connect_ex"]


def test_enhancing_looks_nobody_up_and_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    found, left = _watch(tmp_path, "-c", ENHANCE)
    assert found == []
    assert "intel" not in left and left in ([], [".cache"])


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["profile", "--help"], ["doctor"]])
def test_commands_look_nobody_up(tmp_path: Path, command: list[str]) -> None:
    code = "import sys; from abr.cli import root; root(sys.argv[1:], standalone_mode=False)"
    found, left = _watch(tmp_path, "-c", code, *command)
    assert (found, left) == ([], [])

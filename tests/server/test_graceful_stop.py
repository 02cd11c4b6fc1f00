"""A server that is told to stop ends what it began, and nothing more."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis_server import running_redis
from serve_process import SERVE, ask, clean_environment, serving

LARGE_BYTES = 8 << 20
"""More than the socket buffers of both ends hold."""
PATH = "titles/bbb/video/180p/seg-00100.m4s"


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """These tests serve from another process."""


@pytest.fixture(scope="module")
def large(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = Path(shutil.copytree(library, tmp_path_factory.mktemp("large") / "library"))
    with (folder / "bbb" / "video" / "180p" / "seg-00100.m4s").open("wb") as file:
        file.truncate(LARGE_BYTES)
    yield folder


@pytest.fixture
def patient(tmp_path: Path) -> tuple[str, str]:
    """Options of a server that stops late: a busy machine takes its time."""
    config = tmp_path / "patient.toml"
    config.write_text("shutdown_timeout_s = 100\n")
    return "--config", str(config)


class Viewer:
    """Takes the beginning of a download, and the rest when told to."""

    def __init__(self, url: str, more: str = "") -> None:
        parts = urlsplit(url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.socket.settimeout(60)
        self.socket.connect((parts.hostname, parts.port))
        self.socket.sendall(f"GET /{PATH} HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode())
        self.got = self.socket.recv(1000)

    def rest(self) -> int:
        """Takes all that comes until the server hangs up; returns how many bytes of the body came in all."""
        try:
            while block := self.socket.recv(1 << 16):
                self.got += block
        except ConnectionError:
            pass
        return len(self.got.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("more", ["", "Range: bytes=0-\r\n"], ids=["fast path", "aiohttp"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_downloads_under_way_end_whole(large, patient, more, number):
    with serving("--library", str(large), *patient) as (url, process):
        viewers = [Viewer(url, more) for _ in range(10)]
        idle = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))
        process.send_signal(number)
        assert idle.recv(1) == b"", "who asks for nothing is let go at once"
        assert [viewer.rest() for viewer in viewers] == [LARGE_BYTES] * 10
        assert process.wait(timeout=60) == 0


def test_workers_end_downloads_too(large, patient):
    with running_redis() as store:
        options = ("--library", str(large), "--workers", "2", "--redis-url", store, *patient)
        with serving(*options) as (url, process):
            viewers = [Viewer(url) for _ in range(6)]
            process.send_signal(signal.SIGTERM)
            assert [viewer.rest() for viewer in viewers] == [LARGE_BYTES] * 6
            assert process.wait(timeout=60) == 0


def test_who_takes_no_bytes_is_waited_for_as_long_as_is_set_and_no_longer(large, tmp_path):
    config = tmp_path / "server.toml"
    config.write_text("shutdown_timeout_s = 0.5\n")
    with serving("--library", str(large), "--config", str(config)) as (url, process):
        viewers = [Viewer(url), Viewer(url, "Range: bytes=0-\r\n")]
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert 0.4 < time.monotonic() - began_s < 20
        assert all(viewer.rest() < LARGE_BYTES for viewer in viewers)


def test_a_hang_up_that_is_to_be_ignored_is(large):
    command = ["nohup", *SERVE, "--library", str(large)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.send_signal(signal.SIGHUP)
        assert ask(f"{url}healthz")[0] == 200
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0

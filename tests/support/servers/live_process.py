"""`toprung live` as a process, and what it leaves, read as a player would."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner
from serve_process import ask, clean_environment
from waiting import GUARD_S, wait_until

from abr.cli import root
from abr.errors import ToprungError

LIVE = (sys.executable, "-m", "abr", "live")
SMALL = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "0.5", "--audio-bitrate", "64k")
TEST_SOURCE = ("testsrc2=size=320x180:rate=25[out0];sine=frequency=440[out1]", "--format", "lavfi", "--pace")
"""Endless, with sound, at its own rate."""


def run(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`toprung live` to its end, in this process, which has all that it needs imported."""
    command = ["live", *arguments, "--library", str(library)]
    done = CliRunner().invoke(root, command)
    said = done.stderr
    if isinstance(done.exception, ToprungError):
        return subprocess.CompletedProcess(command, done.exception.exit_code, done.stdout, f"{said}{done.exception}\n")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, said)


def run_on(library: Path, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The same as a process, which reads `data` from its standard input."""
    command = [*LIVE, "-", *arguments, "--library", str(library)]
    return subprocess.run(command, input=data, capture_output=True, timeout=GUARD_S, env=clean_environment())


@contextmanager
def live(library: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`toprung live` while it runs; killed at the end of the block if it has not ended."""
    process = subprocess.Popen(
        [*LIVE, *arguments, "--library", str(library)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], number: signal.Signals | None = signal.SIGINT) -> str:
    """End it in good order, or wait for its own end; what it said on stderr."""
    if number is not None:
        process.send_signal(number)
    _, said = process.communicate(timeout=GUARD_S)
    assert process.returncode == 0, said
    return said


def wait_for_segment(folder: Path, number: int) -> None:
    """Until the manifest of a live title lists segment `number` (1-based) of its first rendition, or a later one."""

    def is_listed() -> bool:
        path = folder / "90p.m3u8"
        return path.is_file() and any(listed >= number for listed in listed_numbers(path.read_text()))

    wait_until(is_listed, f"segment {number} of {folder.name}")


def listed_numbers(playlist: str) -> list[int]:
    """The numbers of the segments in an HLS playlist."""
    return [int(number) for number in re.findall(r"seg-([0-9]{5,})\.m4s", playlist)]


def fetched(url: str, playlist: str) -> bytes:
    """The init segment and all segments that the media playlist at `url` lists, joined, as a player gets them."""
    parts = re.findall(r'URI="([^"]+)"', playlist) + re.findall(r"^[^#\s].*$", playlist, re.M)
    bodies = []
    for part in parts:
        status, body, _ = ask(f"{url.rpartition('/')[0]}/{part}")
        assert status == 200, (part, body)
        bodies.append(body)
    return b"".join(bodies)

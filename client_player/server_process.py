"""A real `toprung serve` as a process beside this one, for commands that show a whole session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from abr.errors import ToprungError

_STOP_S = 10


def build_command(*arguments: object) -> list[str]:
    """The command line of a `toprung` subcommand in a process of its own."""
    return [sys.executable, "-m", "abr", *map(str, arguments)]


def serve_arguments(library: Path) -> Sequence[object]:
    """The command line, after `toprung`, of a server on a free port."""
    return ("serve", "--library", library, "--port", 0, "--log-level", "warning")


@contextmanager
def serving(library: Path) -> Iterator[str]:
    """A server on a free port of this machine; yields its base URL and stops it in the end. Raises ToprungError."""
    server = subprocess.Popen(build_command(*serve_arguments(library)), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url.startswith("http"):
            raise ToprungError("`toprung serve` did not start; what went wrong is said above.")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()

"""A real Redis for tests: its own process, on a unix socket in a folder, nothing kept on disk."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis


@contextmanager
def running_redis() -> Iterator[str]:
    """Starts one in a folder of its own and yields its URL."""
    with tempfile.TemporaryDirectory(prefix="toprung-redis-") as folder, redis_in(Path(folder)) as (url, _):
        yield url


@contextmanager
def redis_in(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Starts one with its socket in `folder`: its URL, and its process. Skips the test when the machine has none."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine; install Debian's package redis-server")
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:  # blocks until it says so, rather than asking again and again
            if "eady to accept connections" in line:
                break
        else:
            raise RuntimeError("redis-server ended before it was ready")
        redis.Redis.from_url(f"unix://{socket}").ping()
        yield f"unix://{socket}", process
    finally:
        process.terminate()
        process.communicate(timeout=120)

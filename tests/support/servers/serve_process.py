"""`toprung serve` as a process, and one HTTP request to it, without an event loop."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

SERVE = (sys.executable, "-m", "abr", "serve", "--port", "0", "--log-level", "error")


def clean_environment() -> dict[str, str]:
    """Ours, without settings meant for another server; TEST_FAST_PATH tells whether servers have the fast path."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOPRUNG_")}
    return ours | {"TOPRUNG_FAST_PATH": os.environ.get("TEST_FAST_PATH", "true")}


@contextmanager
def serving(
    *options: str,
    errors: int | None = subprocess.PIPE,
    redis_timeout_s: float = 60.0,
    open_files: tuple[int, int] | None = None,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server on a port of its own, unless told otherwise: its URL, which ends in a slash, and its process.

    redis_timeout_s: so long that a busy machine does not make it decide without its store. open_files: its soft and
    hard limit.
    """
    environment = clean_environment() | {"TOPRUNG_REDIS_TIMEOUT_S": str(redis_timeout_s)}
    process = subprocess.Popen(
        [*SERVE, *options],
        text=True,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=errors,
        preexec_fn=open_files and partial(resource.setrlimit, resource.RLIMIT_NOFILE, open_files),
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), process.stderr.read() if process.stderr else "it did not start"
        yield url, process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise


@contextmanager
def served(*options: str, redis_timeout_s: float = 60.0) -> Iterator[str]:
    """The same; its URL alone."""
    with serving(*options, redis_timeout_s=redis_timeout_s) as (url, _):
        yield url


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """A server that is not expected to go on."""
    return subprocess.run([*SERVE, *options], capture_output=True, text=True, timeout=120, env=clean_environment())


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """The processes that serve."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def opened(url: str) -> str:
    """The path, without a slash before it, of a new session of the title `bbb`."""
    return ask(f"{url}sessions", b'{"title": "bbb"}')[2]["Location"].lstrip("/")


def counted(url: str, metric: str) -> float:
    """The sum of the samples that begin with `metric`: its name, and labels as far as they are given."""
    lines = ask(f"{url}metrics")[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


def ask(url: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of a GET, or a POST of JSON `data`. Underscores in header names stand for dashes."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        told["Content-Type"] = "application/json"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=told), timeout=120) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)

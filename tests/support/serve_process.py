"""`toprung serve` as a process, and one HTTP request to it, without an event loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVE = (sys.executable, "-m", "abr", "serve", "--port", "0", "--log-level", "error")


def clean_environment() -> dict[str, str]:
    """Ours, without settings meant for another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOPRUNG_")}


@contextmanager
def serving(*options: str, errors: int | None = subprocess.PIPE) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server on a port of its own, unless told otherwise: its URL, which ends in a slash, and its process."""
    pipes = {"stdout": subprocess.PIPE, "stderr": errors}
    process = subprocess.Popen([*SERVE, *options], text=True, env=clean_environment(), start_new_session=True, **pipes)
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), process.stderr.read() if process.stderr else "it did not start"
        yield url, process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The same; its URL alone."""
    with serving(*options) as (url, _):
        yield url


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """A server that is not expected to go on."""
    return subprocess.run([*SERVE, *options], capture_output=True, text=True, timeout=60, env=clean_environment())


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
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=told), timeout=20) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)

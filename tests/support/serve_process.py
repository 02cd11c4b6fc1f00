"""`toprung serve` as a process, and one HTTP request to it, without an event loop."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


def clean_environment() -> dict[str, str]:
    """Ours, without settings meant for another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOPRUNG_")}


@contextmanager
def served(*options: str) -> Iterator[str]:
    """A server on a port of its own; yields its URL, which ends in a slash."""
    command = [sys.executable, "-m", "abr", "serve", "--port", "0", "--log-level", "error", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment())
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "the server did not start; its reason is on stderr"
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=20)


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

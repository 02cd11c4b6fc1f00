"""Workers behind one port, and state in a folder: real processes, killed and restarted under viewers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_server import running_redis

SERVE = [sys.executable, "-m", "abr", "serve", "--port", "0", "--log-level", "warning"]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TOPRUNG_")}


@contextmanager
def serving(library: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [*SERVE, "--library", str(library), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.stderr.read()
        yield url, process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise


def run(library: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*SERVE, "--library", str(library), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())


def get(url: str) -> tuple[bytes, str]:
    """Each on a new connection, so that any worker may answer."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read(), answer.headers.get("Toprung-Rendition", "")


def opened(url: str) -> str:
    asked = urllib.request.Request(
        f"{url}sessions", data=b'{"title": "bbb"}', headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.headers["Location"].lstrip("/")


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def counted(url: str, name: str) -> float:
    text = get(f"{url}metrics")[0].decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def test_any_worker_serves_any_session_and_a_killed_one_is_replaced_unnoticed(library):
    with running_redis() as redis_url, serving(library, "--workers", "2", "--redis-url", redis_url) as (url, process):
        path = opened(url)
        for number in (1, 2):
            assert len({get(f"{url}{path}/video/{number}.m4s") for _ in range(6)}) == 1
        assert counted(url, "toprung_decisions_total") == 2.0
        before = workers_of(process)
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        failures = 0
        for _ in range(20):
            try:
                get(f"{url}{path}/video/3.m4s")
            except (urllib.error.URLError, ConnectionError):
                failures += 1
        assert failures <= 1, "at most a connection that the dead worker held is lost"
        end_s = time.monotonic() + 15
        while not workers_of(process) - before and time.monotonic() < end_s:
            time.sleep(0.05)
        assert len(workers_of(process) - before) == 1
        assert [each["segment"] for each in json.loads(get(f"{url}{path}")[0])["choices"]] == [0, 1, 2]
        assert counted(url, "toprung_decisions_total") == 3.0, "what the dead worker counted stays counted"


def test_state_in_a_folder_outlives_a_server_that_was_killed(library, tmp_path):
    options = ("--state", str(tmp_path / "state"))
    with serving(library, *options) as (url, process):
        path = opened(url)
        first = get(f"{url}{path}/video/1.m4s")
        time.sleep(1.2)  # its file is written once a second
        process.kill()
        process.wait()
    with serving(library, *options) as (url, _):
        assert get(f"{url}{path}/video/1.m4s") == first
        get(f"{url}{path}/video/2.m4s")
        assert [each["segment"] for each in json.loads(get(f"{url}{path}")[0])["choices"]] == [0, 1]
        second = run(library, *options)
        assert (second.returncode, "in use by another server" in second.stderr) == (2, True)


def test_workers_without_a_shared_store_are_refused(library):
    result = run(library, "--workers", "2")
    assert result.returncode == 2
    assert "--redis-url, or --state DIR" in result.stderr


def test_workers_that_cannot_start_say_why(library):
    result = run(library, "--workers", "2", "--redis-url", "redis://127.0.0.1:1/0")
    assert result.returncode == 1
    assert "does not answer" in result.stderr
    assert "Traceback" not in result.stderr

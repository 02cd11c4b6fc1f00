"""Workers behind one port, and state in a folder: real processes, killed and restarted under viewers."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import urllib.error
from pathlib import Path

from redis_server import running_redis
from serve_process import ask, counted, opened, run, serving, workers_of
from waiting import wait_until


def test_any_worker_serves_any_session_and_a_killed_one_is_replaced_unnoticed(library):
    shared = ("--library", str(library), "--workers", "2", "--redis-url")
    with running_redis() as redis_url, serving(*shared, redis_url) as (url, process):
        path = opened(url)
        for number in (1, 2):
            assert len({ask(f"{url}{path}/video/{number}.m4s")[1] for _ in range(6)}) == 1
        assert counted(url, "toprung_decisions_total") == 2.0
        before = workers_of(process)
        assert len(before) == 2
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: has_ended(killed), "the killed worker to end")
        failures = 0
        for _ in range(20):
            try:
                ask(f"{url}{path}/video/3.m4s")
            except (urllib.error.URLError, ConnectionError):
                failures += 1
        assert failures <= 1, "at most a connection that the dead worker held is lost"
        wait_until(lambda: workers_of(process) - before, "a worker in the place of the killed one")
        assert len(workers_of(process) - before) == 1
        assert [each["segment"] for each in json.loads(ask(f"{url}{path}")[1])["choices"]] == [0, 1, 2]
        assert counted(url, "toprung_decisions_total") == 3.0, "what the dead worker counted stays counted"


def test_state_in_a_folder_outlives_a_server_that_was_killed(library, tmp_path):
    options = ("--library", str(library), "--state", str(tmp_path / "state"))
    with serving(*options) as (url, process):
        path = opened(url)
        first = ask(f"{url}{path}/video/1.m4s")[1]
        state = tmp_path / "state"
        wait_until(lambda: is_in_files(b'"event":"decided"', state), "the decision to be in the store's files")
        process.kill()
        process.wait()
        wait_until(lambda: is_free(state / "lock"), "the killed server's store to end")
    with serving(*options) as (url, _):
        assert ask(f"{url}{path}/video/1.m4s")[1] == first
        ask(f"{url}{path}/video/2.m4s")
        assert [each["segment"] for each in json.loads(ask(f"{url}{path}")[1])["choices"]] == [0, 1]
        second = run(*options)
        assert (second.returncode, "in use by another server" in second.stderr) == (2, True)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def is_in_files(data: bytes, folder: Path) -> bool:
    return any(data in path.read_bytes() for path in folder.rglob("*.aof"))


def is_free(lock: Path) -> bool:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def test_workers_without_a_shared_store_are_refused(library):
    result = run("--library", str(library), "--workers", "2")
    assert result.returncode == 2
    assert "--redis-url, or --state DIR" in result.stderr


def test_workers_that_cannot_start_say_why(library):
    result = run("--library", str(library), "--workers", "2", "--redis-url", "redis://127.0.0.1:1/0")
    assert result.returncode == 1
    assert "does not answer" in result.stderr
    assert "Traceback" not in result.stderr

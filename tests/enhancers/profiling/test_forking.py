"""Children that break, hang, grow or write: each costs its own job, and says how it ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from enhancers.profiling.forking import ANSWER_MAX_BYTES, Bounds, run_in_child


def crash() -> bytes:
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    os.abort()


def leave() -> bytes:
    os._exit(3)


def hang() -> bytes:
    signal.pause()
    return b"woken"


def raise_error() -> bytes:
    raise ValueError("of no account")


def grow() -> bytes:
    return bytes(len(bytearray(1 << 30)) and 1)


def babble() -> bytes:
    return b"x" * (ANSWER_MAX_BYTES + 1)


def children() -> set[str]:
    """Process ids of this process's children, the dead ones that nobody asked after included."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (crash, "signal 6"),
        (leave, "without an answer"),
        (hang, "not done within 0.2 s"),
        (raise_error, "without an answer"),
        (grow, "without an answer"),
        (babble, "without an answer"),
    ],
)
def test_a_child_that_goes_wrong_costs_its_job_and_says_how_it_ended(work: Callable[[], bytes], said: str) -> None:
    bounds = Bounds(seconds=0.2 if work is hang else 30, memory_bytes=os.sysconf("SC_PAGE_SIZE") * 200_000)
    began_s, before = time.monotonic(), children()
    answer, death = run_in_child(work, bounds)
    assert (answer, said in death) == (b"", True), death
    assert time.monotonic() - began_s < 20
    assert run_in_child(lambda: b"fine", bounds) == (b"fine", "")
    assert children() <= before, "none is left, not even dead"


def test_a_long_answer_comes_whole() -> None:
    answer, _ = run_in_child(lambda: b"y" * ANSWER_MAX_BYTES, Bounds(seconds=30))
    assert answer == b"y" * ANSWER_MAX_BYTES


def test_a_child_that_may_not_write_writes_nothing(tmp_path: Path) -> None:
    def write() -> bytes:
        try:
            (tmp_path / "there").write_bytes(b"something")
        except OSError:
            return b"refused"
        return b"written"

    assert run_in_child(write, Bounds(seconds=30, writes=False)) == (b"refused", "")
    assert run_in_child(write, Bounds(seconds=30)) == (b"written", "")

"""Work in children of a process that has loaded what it takes: what breaks, hangs or grows there costs its job alone.

Jobs go to that process and answers come back as lines of JSON. It forks for each job, so that a child begins with all
modules loaded and nothing else in its memory.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

ANSWER_MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of one child. memory_bytes: of its data, as RLIMIT_DATA counts them; 0: as much as there is.

    writes: whether it may write files.
    """

    seconds: float
    memory_bytes: int = 0
    writes: bool = True


Work = Callable[[bytes], bytes]
"""From the line of a job to the line of its answer, without the newline."""


class ForkingProcess:
    """The process, from outside. Use it in a `with` block, which ends it.

    module: runs `serve`. setup: its first line.
    """

    def __init__(self, module: str, setup: bytes) -> None:
        self._module, self._setup = module, setup
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._send(self._setup)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process is not None
        with self._process as process:
            process.kill()

    def ask(self, line: bytes) -> bytes:
        """The answer to a job; empty when the process itself has ended."""
        self._send(line)
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline(2 * ANSWER_MAX_BYTES)

    def _send(self, line: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()


def serve(prepare: Callable[[bytes], Work], bounds: Bounds, failed: Callable[[str], bytes]) -> None:
    """Read the setup, prepare, and answer each job by the work of a child, until there are no more.

    failed: the answer for a child that ended in a way of its own, which it is told in words.
    """
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that print
    work = prepare(sys.stdin.buffer.readline())
    for line in sys.stdin.buffer:
        answer, death = run_in_child(partial(work, line), bounds)
        answers.write((answer or failed(death)) + b"\n")


def run_in_child(work: Callable[[], bytes], bounds: Bounds) -> tuple[bytes, str]:
    """What `work` returns in a child; or nothing, and how the child ended."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        _be_child(work, bounds, read, write)
    os.close(write)
    try:
        answer, in_time = _read_until(read, time.monotonic() + bounds.seconds)
    finally:
        os.close(read)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # one that hangs, or only has to end
        _, status = os.waitpid(child, 0)
    return (answer, "") if answer and in_time else (b"", _death(status, bounds, in_time=in_time))


def _be_child(work: Callable[[], bytes], bounds: Bounds, read: int, write: int) -> None:
    with suppress(BaseException):
        os.close(read)
        if bounds.memory_bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (bounds.memory_bytes, bounds.memory_bytes))
        if not bounds.writes:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        view = memoryview(work())
        while view:
            view = view[os.write(write, view) :]
    os._exit(0)


def _read_until(read: int, until_s: float) -> tuple[bytes, bool]:
    """All that comes, and whether it ended in time and within ANSWER_MAX_BYTES."""
    parts: list[bytes] = []
    while sum(map(len, parts)) <= ANSWER_MAX_BYTES:
        ready, _, _ = select.select([read], [], [], max(0.0, until_s - time.monotonic()))
        if not ready:
            return b"", False
        if not (part := os.read(read, 1 << 16)):
            return b"".join(parts), True
        parts.append(part)
    return b"", True


def _death(status: int, bounds: Bounds, *, in_time: bool) -> str:
    if not in_time:
        return f"not done within {bounds.seconds:g} s"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return f"ended by signal {os.WTERMSIG(status)}"
    return "ended without an answer"

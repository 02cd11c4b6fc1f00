"""Many jobs at once: each in a process of its own on this machine, or (`abr.jobs.ray_pool`) as a task of a Ray cluster.

Both do the same to each job. One that fails does not stop the others; one whose process dies (killed, out of memory,
crashed in a codec) is tried once more, since jobs keep finished work on the disk.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar

from abr.errors import InputError, ToprungError

J = TypeVar("J")
R = TypeVar("R")

Tell = Callable[[str, float, float], None]
"""Hears of progress: what is being done, how much of it there is, how much is done."""
Work = Callable[[J, Tell], R]
"""What to do with one job. It and its jobs and results can be pickled."""

ATTEMPTS = 2
START_METHOD = "spawn"
"""A fork of a process with threads of codecs may wait for ever for one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """Why a job has no result: one sentence, and the exit code that goes with it."""

    sentence: str
    exit_code: int = 1

    def error(self) -> ToprungError:
        """To be raised where there was only one job."""
        return (InputError if self.exit_code == InputError.exit_code else ToprungError)(self.sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob(Generic[J, R]):
    """A job and what came of it."""

    job: J
    outcome: R | JobFailure


class JobPool(Protocol):
    """Does many jobs at once, wherever it does them."""

    def work(self, function: Work[J, R], jobs: Sequence[J]) -> Iterator[FinishedJob[J, R]]:
        """Does all jobs, some at once; yields each as it finishes."""
        ...


def attempt(function: Work[J, R], job: J, tell: Tell) -> R | JobFailure:
    """The one way in which a job is done, wherever that is."""
    try:
        return function(job, tell)
    except ToprungError as error:
        return JobFailure(sentence=str(error), exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001  (the others go on)
        return JobFailure(sentence=f"{type(error).__name__}: {error} (this is a bug in Toprung, please report it)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run(Generic[J]):
    """A process, the job that it does for the `count`-th time, and when it should be done (time.monotonic)."""

    process: BaseProcess
    job: J
    count: int
    due_s: float


class LocalPool:
    """A process a job, `at_once` of them. `memory_bytes` is the most address space that one may take.

    `listener` hears the progress of every job. A job that takes longer than `limit_s` is ended, and not tried again.
    """

    def __init__(
        self,
        at_once: int,
        listener: Callable[[Any, str, float, float], None] = lambda *_: None,
        *,
        memory_bytes: int | None = None,
        limit_s: float = math.inf,
    ) -> None:
        self._at_once = at_once
        self._listener = listener
        self._memory_bytes = memory_bytes or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._limit_s = limit_s
        self._processes = multiprocessing.get_context(START_METHOD)

    def work(self, function: Work[J, R], jobs: Sequence[J]) -> Iterator[FinishedJob[J, R]]:
        """See JobPool."""
        waiting = deque((job, 1) for job in jobs)
        running: dict[Any, _Run[J]] = {}  # by the pipe that it tells through
        try:
            while waiting or running:
                while waiting and len(running) < self._at_once:
                    pipe, run = self._start(function, *waiting.popleft())
                    running[pipe] = run
                for ready in self._ready(running):
                    run = running[ready]
                    outcome = self._receive(ready, run.job)
                    if outcome is _PROGRESS:
                        continue
                    del running[ready]
                    run.process.join()
                    if outcome is _DIED and run.count < ATTEMPTS:
                        waiting.appendleft((run.job, run.count + 1))
                    elif outcome is _DIED:
                        sentence = f"{run.job}: its process {_end(run.process)}, {ATTEMPTS} times."
                        yield FinishedJob(job=run.job, outcome=JobFailure(sentence=sentence))
                    else:
                        yield FinishedJob(job=run.job, outcome=outcome)
                yield from self._end_overdue(running)
        finally:
            for run in running.values():
                run.process.kill()
                run.process.join()

    def _ready(self, running: Mapping[Any, _Run[J]]) -> list[Any]:
        """The pipes that tell something, or that have ended; none when a job is overdue first."""
        left_s = min(run.due_s for run in running.values()) - time.monotonic()
        return wait(list(running), None if math.isinf(left_s) else max(0.0, left_s))

    def _end_overdue(self, running: dict[Any, _Run[J]]) -> Iterator[FinishedJob[J, Any]]:
        for pipe in [pipe for pipe, run in running.items() if run.due_s <= time.monotonic()]:
            run = running.pop(pipe)
            run.process.kill()
            run.process.join()
            pipe.close()
            sentence = f"{run.job}: was not done after {self._limit_s:g} s, the limit."
            yield FinishedJob(job=run.job, outcome=JobFailure(sentence=sentence))

    def _start(self, function: Work[J, R], job: J, count: int) -> tuple[Connection, _Run[J]]:
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(  # type: ignore[attr-defined]
            target=_worker, args=(function, job, sender, self._memory_bytes)
        )
        process.start()
        sender.close()
        return receiver, _Run(process=process, job=job, count=count, due_s=time.monotonic() + self._limit_s)

    def _receive(self, pipe: Any, job: J) -> Any:
        """The job's outcome, _PROGRESS or _DIED. Passes progress on to the listener."""
        try:
            kind, message = pipe.recv()
        except (EOFError, OSError):
            kind, message = "done", _DIED
        if kind == "progress":
            self._listener(job, *message)
            return _PROGRESS
        pipe.close()
        return message


_PROGRESS, _DIED = object(), object()


def _worker(function: Work[J, R], job: J, pipe: Connection, memory_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of us; the parent ends its children
    threading.Thread(target=_die_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lock = threading.Lock()

    def send(kind: str, message: object) -> None:
        with lock:
            pipe.send((kind, message))

    outcome = attempt(function, job, lambda *progress: send("progress", progress))
    send("done", outcome)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

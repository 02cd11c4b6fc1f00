"""Many jobs at once: each in a process of its own on this machine, or (`abr.ray_crew`) as a task of a Ray cluster.

Both do the same to each job. One that fails does not stop the others; one whose process dies (killed, out of memory,
crashed in a codec) is tried once more, since jobs keep finished work on the disk.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
class Failure:
    """Why a job has no result: one sentence, and the exit code that goes with it."""

    sentence: str
    exit_code: int = 1

    def error(self) -> ToprungError:
        """To be raised where there was only one job."""
        return (InputError if self.exit_code == InputError.exit_code else ToprungError)(self.sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Generic[J, R]):
    """A job and what came of it."""

    job: J
    outcome: R | Failure


class Crew(Protocol):
    def work(self, function: Work[J, R], jobs: Sequence[J]) -> Iterator[Finished[J, R]]:
        """Does all jobs, some at once; yields each as it finishes."""
        ...


def attempt(function: Work[J, R], job: J, tell: Tell) -> R | Failure:
    """The one way in which a job is done, wherever that is."""
    try:
        return function(job, tell)
    except ToprungError as error:
        return Failure(sentence=str(error), exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001  (the others go on)
        return Failure(sentence=f"{type(error).__name__}: {error} (this is a bug in Toprung, please report it)")


class LocalCrew:
    """A process a job, `at_once` of them. `memory_bytes` is the most address space that one may take.

    `listener` hears the progress of every job.
    """

    def __init__(
        self,
        at_once: int,
        listener: Callable[[Any, str, float, float], None] = lambda *_: None,
        *,
        memory_bytes: int | None = None,
    ) -> None:
        self._at_once = at_once
        self._listener = listener
        self._memory_bytes = memory_bytes or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._processes = multiprocessing.get_context(START_METHOD)

    def work(self, function: Work[J, R], jobs: Sequence[J]) -> Iterator[Finished[J, R]]:
        waiting = deque((job, 1) for job in jobs)
        running: dict[Any, tuple[BaseProcess, J, int]] = {}  # by the pipe that it tells through
        try:
            while waiting or running:
                while waiting and len(running) < self._at_once:
                    job, count = waiting.popleft()
                    process, pipe = self._start(function, job)
                    running[pipe] = process, job, count
                for ready in wait(list(running)):
                    process, job, count = running[ready]
                    outcome = self._hear(ready, job)
                    if outcome is _TOLD:
                        continue
                    del running[ready]
                    process.join()
                    if outcome is _DIED and count < ATTEMPTS:
                        waiting.appendleft((job, count + 1))
                    elif outcome is _DIED:
                        sentence = f"{job}: its process {_end(process)}, {ATTEMPTS} times."
                        yield Finished(job=job, outcome=Failure(sentence=sentence))
                    else:
                        yield Finished(job=job, outcome=outcome)
        finally:
            for process, _, _ in running.values():
                process.kill()
                process.join()

    def _start(self, function: Work[J, R], job: J) -> tuple[BaseProcess, Connection]:
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(  # type: ignore[attr-defined]
            target=_worker, args=(function, job, sender, self._memory_bytes)
        )
        process.start()
        sender.close()
        return process, receiver

    def _hear(self, pipe: Any, job: J) -> Any:
        """The job's outcome, _TOLD or _DIED. Passes on what is told."""
        try:
            kind, message = pipe.recv()
        except (EOFError, OSError):
            kind, message = "done", _DIED
        if kind == "told":
            self._listener(job, *message)
            return _TOLD
        pipe.close()
        return message


_TOLD, _DIED = object(), object()


def _worker(function: Work[J, R], job: J, pipe: Connection, memory_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of us; the parent ends its children
    threading.Thread(target=_die_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lock = threading.Lock()

    def send(kind: str, message: object) -> None:
        with lock:
            pipe.send((kind, message))

    outcome = attempt(function, job, lambda *told: send("told", told))
    send("done", outcome)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def crew_of(ray: str | None, at_once: int | None, listener: Callable[[Any, str, float, float], None]) -> Crew:
    """The crew that the options --ray and --jobs ask for: processes here, one at a time unless told otherwise."""
    if ray is None:
        return LocalCrew(at_once or 1, listener)
    from abr.ray_crew import RayCrew

    return RayCrew(ray, at_once)

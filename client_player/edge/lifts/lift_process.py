"""Lifting goes on in processes of their own, of low priority.

So viewers are answered quickly meanwhile, and what a hostile segment does to a decoder is not done to the node.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import NamedTuple, Protocol

from abr.errors import ToprungError
from client_player.edge.lifts.lifting import LiftedSegment, Lifter, LiftJob

ANSWER_MAX_S = 120.0
"""A segment takes about as long as it lasts. A process that has said nothing for so long is replaced."""
_NICENESS = 5


class LiftError(ToprungError):
    """A segment could not be lifted."""


class Lifting(Protocol):
    """Lifts segments, `at_once` of them at the same time."""

    at_once: int

    async def lift(self, job: LiftJob) -> LiftedSegment:
        """Raises LiftError."""
        ...


class _Running(NamedTuple):
    process: BaseProcess
    connection: Connection


class _LiftProcess:
    """One process, and who talks to it. It starts with the first job, and again should it have died."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._lock = threading.Lock()
        self._is_over = False

    def lift(self, job: LiftJob) -> LiftedSegment:
        """To be called in one thread, which waits."""
        running = self.start()
        try:
            running.connection.send(job)
            if not running.connection.poll(ANSWER_MAX_S):
                raise LiftError(f"segment {job.segment} was not lifted within {ANSWER_MAX_S:.0f} s")
            answer: LiftedSegment | str = running.connection.recv()
        except (OSError, EOFError) as error:
            self._end()
            raise LiftError(f"the process that lifted segment {job.segment} has died") from error
        except LiftError:
            self._end()
            raise
        if isinstance(answer, str):
            raise LiftError(answer)
        return answer

    def close(self) -> None:
        """End it, and whoever waits for its answer; no other is started."""
        with self._lock:
            self._is_over = True
        self._end()

    def start(self) -> _Running:
        """The process that runs, or another one."""
        with self._lock:
            if self._is_over:
                raise LiftError("the node stops, and lifts no more")
            self._running = self._running or _start()
            return self._running

    def _end(self) -> None:
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.process.kill()
            running.process.join()
            running.connection.close()


class LiftProcesses:
    """See Lifting."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._all = [_LiftProcess() for _ in range(at_once)]
        self._free = list(self._all)
        self._turns = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, "lift")

    async def lift(self, job: LiftJob) -> LiftedSegment:
        """See Lifting."""
        async with self._turns:
            process = self._free.pop()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, process.lift, job)
            finally:
                self._free.append(process)

    def start(self) -> None:
        """Have them there before the first segment is."""
        for process in self._all:
            process.start()

    def close(self) -> None:
        """End all of them, whatever they do."""
        for process in self._all:
            process.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def lifting(at_once: int) -> AsyncIterator[LiftProcesses]:
    """Processes that lift, while they are needed."""
    processes = LiftProcesses(at_once)
    try:
        await asyncio.to_thread(processes.start)
        yield processes
    finally:
        await asyncio.to_thread(processes.close)


def _start() -> _Running:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_lift_all, args=(theirs,), name="lift", daemon=True)
    process.start()
    theirs.close()  # so that each side hears when the other has gone
    return _Running(process, ours)


def _lift_all(connection: Connection) -> None:
    """What a process does, until the node has gone. What a terminal sends is for the node to answer."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    importlib.import_module("enhancers.runtime.loader")  # takes a second; the first segment need not wait for it
    lifter = Lifter()
    with suppress(EOFError, OSError):
        while True:
            job = connection.recv()
            try:
                answer: LiftedSegment | str = lifter.lift(job)
            except Exception as error:  # noqa: BLE001 - told to who asked, who serves the segment as it came
                answer = f"segment {job.segment} cannot be lifted: {type(error).__name__}: {error}"
            connection.send(answer)


def _die_with_parent() -> None:
    """A lift that nobody waits for is not worth its processor time."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

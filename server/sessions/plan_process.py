"""Plans are made in a process of its own, of low priority, so that nobody waits for the interpreter's lock meanwhile.

A thread of low priority would not do: on a busy machine the system lets it rest while it holds that lock, and with it
rests the event loop.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Lock
from typing import NamedTuple

from abr.controllers.toprung.compact_plans import CompactPlan
from abr.controllers.toprung.plan_library import make_plan
from abr.core.options import PriceList
from abr.errors import ToprungError

ANSWER_MAX_S = 120.0
"""A plan takes some tenths of a second. A process that has said nothing for so long is replaced."""
_NICENESS = 19


class _Running(NamedTuple):
    process: BaseProcess
    connection: Connection


class PlanProcess:
    """Makes one plan at a time. Its process starts with the first, and again should it have died."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._is_over = False
        self._lock = Lock()

    def make(self, prices: PriceList, options: tuple[int, ...], window: int, buffer_max_s: float) -> CompactPlan:
        """As `make_plan`. To be called in one thread, which waits.

        Raises ToprungError when the process fails, or the server needs no more plans.
        """
        running = self._start()
        try:
            running.connection.send((prices, options, window, buffer_max_s))
            if not running.connection.poll(ANSWER_MAX_S):
                raise ToprungError(f"the process that makes plans said nothing for {ANSWER_MAX_S:.0f} s")
            answer: CompactPlan | str = running.connection.recv()
        except (OSError, EOFError) as error:
            self._end()
            raise ToprungError("the process that makes plans has died; the next plan starts another") from error
        except ToprungError:
            self._end()
            raise
        if isinstance(answer, str):
            raise ToprungError(answer)
        return answer

    def close(self) -> None:
        """End the process, and whoever waits for its answer; no other is started."""
        with self._lock:
            self._is_over = True
        self._end()

    def _start(self) -> _Running:
        with self._lock:
            if self._is_over:
                raise ToprungError("the server stops, and needs no more plans")
            self._running = self._running or _start()
            return self._running

    def _end(self) -> None:
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.process.kill()  # whoever waits for it hears that, and lets go of the connection
            running.process.join()


@contextmanager
def planning() -> Iterator[PlanProcess]:
    """A process for plans, while it is needed."""
    process = PlanProcess()
    try:
        yield process
    finally:
        process.close()


def _start() -> _Running:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_make_all, args=(theirs,), name="plans", daemon=True)
    process.start()
    theirs.close()  # so that each side hears when the other has gone
    return _Running(process, ours)


def _make_all(connection: Connection) -> None:
    """What the process does, until the server has gone. What a terminal sends is for the server to answer."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    with suppress(EOFError, OSError):
        while True:
            prices, options, window, buffer_max_s = connection.recv()
            try:
                answer: CompactPlan | str = make_plan(prices, options, window, buffer_max_s)
            except Exception as error:  # noqa: BLE001 - told to who asked, who goes on without this plan
                answer = f"{type(error).__name__}: {error}"
            connection.send(answer)

"""Time. `VirtualTimeLoop` is an asyncio event loop whose idle time costs nothing.

While some task is *working* (waiting for a real socket, decoding, running a network) virtual time advances with the
wall; while every task only sleeps, the loop jumps to the next timer. A ten-minute session over a slow trace then takes
as long as its compute, and compute is still charged what it truly cost. With no work at all it is fully deterministic.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _JumpingSelector(selectors.BaseSelector):
    """Wraps a real selector; asks `jump` what to do with the time nobody needs."""

    def __init__(self, inner: selectors.BaseSelector, wall_rate: float) -> None:
        self._inner, self._wall_rate = inner, wall_rate
        self.is_working: Callable[[], bool] = lambda: False
        self.jump: Callable[[float], None] = lambda _seconds: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._inner.select(timeout)
        if self.is_working():
            return self._inner.select(timeout / self._wall_rate)
        ready = self._inner.select(0)
        if not ready:
            self.jump(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at time 0 and skips the time in which nobody works. See the module's docstring.

    wall_rate: virtual seconds that a wall second of work counts for; 0.1 is a machine ten times as fast as this one.
    """

    def __init__(self, wall_rate: float = 1.0) -> None:
        self._wall_rate = wall_rate
        self._virtual_s = 0.0
        self._charged_s = 0.0
        self._charging = threading.Lock()
        self._workers = 0
        self._since_s = 0.0
        selector = _JumpingSelector(selectors.DefaultSelector(), wall_rate)
        super().__init__(selector)
        selector.is_working = lambda: self._workers > 0
        selector.jump = self._jump

    def _jump(self, seconds: float) -> None:
        self._virtual_s += seconds

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        virtual_s = self._virtual_s + self._charged_s
        return virtual_s + self._worked_s() if self._workers > 0 else virtual_s

    def _worked_s(self) -> float:
        return (time.monotonic() - self._since_s) * self._wall_rate

    def charge(self, seconds: float) -> None:
        """Let the work under way take this much longer than the wall says, as on a slower device. From any thread."""
        with self._charging:
            self._charged_s += seconds

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, virtual time follows the wall. May be nested and overlapped by several tasks."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Work in a thread is work: virtual time follows the wall until it is done."""
        self._begin()
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            self._end()
            raise
        future.add_done_callback(lambda _future: self._end())
        return future

    @contextmanager
    def idling(self) -> Iterator[None]:
        """Inside, somebody who is `working` waits for the caller, who does nothing: that time may be skipped.

        For tests, whose server and player share the loop: silence need not be sat out.
        """
        self._count(-1)
        try:
            yield
        finally:
            self._count(+1)

    def _begin(self) -> None:
        self._count(+1)

    def _end(self) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        """Workers come and go. Below 0 while a peer is still idle whose client has given up."""
        before = self._workers
        if before > 0 >= before + change:
            self._virtual_s += self._worked_s()
        if before <= 0 < before + change:
            self._since_s = time.monotonic()
        self._workers = before + change


def working() -> AbstractContextManager[None]:
    """Mark that the running task needs the wall clock; does nothing on an ordinary loop."""
    loop = asyncio.get_running_loop()
    return loop.working() if isinstance(loop, VirtualTimeLoop) else nullcontext()


class SessionClock:
    """Session seconds on the running loop, virtual or not: 0 when it is made or last started."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.start()

    def start(self) -> None:
        """Make now the session's instant 0."""
        self._epoch_s = self._loop.time()

    def now_s(self) -> float:
        """Seconds since the session began."""
        return self._loop.time() - self._epoch_s

    async def sleep_until(self, instant_s: float) -> None:
        """Return at `instant_s`, or at once when it has passed."""
        await asyncio.sleep(max(0.0, instant_s - self.now_s()))


def run_virtual(main: Coroutine[Any, Any, T], *, wall_rate: float = 1.0) -> T:
    """`asyncio.run` on a VirtualTimeLoop."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(wall_rate)) as runner:
        return runner.run(main)

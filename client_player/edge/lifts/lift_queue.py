"""Which segment is lifted next: the one that brings viewers most per second of processor time, of those still in time.

What a lift brings is its gain in VMAF points times the viewers who will play the segment after it is done. A lift that
would be too late for everybody is not begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from abr.virtual_time import SessionClock
from client_player.edge.lifts.lift_process import LiftError

WAITING_MAX = 1024
"""Orders that may wait; the least worth of more is left."""

log = logging.getLogger("toprung.edge")


class Outcome(StrEnum):
    """What became of an order."""

    LIFTED = "lifted"
    SHARED = "shared"
    """Another node of the site has lifted it."""
    LATE = "late"
    """It could not have been done in time for anybody."""
    FAILED = "failed"


async def _always() -> bool:
    return True


@dataclass(kw_only=True, eq=False)
class LiftOrder:
    """A segment to be lifted. gain: VMAF points. cost_s: seconds that a lifter is busy with it.

    due: for each viewer on the way to it, when it is played, given the time. later: viewers that may come some time.
    work: does it; raises LiftError. claim: whether this node is to do it, or another does. follow: waits for that
    other, and tells whether the lifted segment is here then.
    """

    key: str
    gain: float
    cost_s: float
    due: Callable[[float], Iterable[float]]
    later: Callable[[], float]
    work: Callable[[], Awaitable[None]]
    claim: Callable[[], Awaitable[bool]] = _always
    follow: Callable[[], Awaitable[bool]] = _always
    done: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: Outcome | None = None
    began_s: float | None = None
    is_elsewhere: bool = False

    def worth(self, now_s: float) -> float:
        """Points times viewers in time, per second of work."""
        in_time = sum(due_s >= now_s + self.cost_s for due_s in self.due(now_s))
        return self.gain * (in_time + self.later()) / max(self.cost_s, 1e-3)

    def left_s(self, now_s: float) -> float:
        """Seconds of work that are left of it."""
        return self.cost_s if self.began_s is None else max(0.0, self.cost_s - (now_s - self.began_s))


class LiftQueue:
    """Orders that wait, and those under way. on_outcome hears what became of each."""

    def __init__(self, at_once: int, clock: SessionClock, on_outcome: Callable[[LiftOrder], None]) -> None:
        self._at_once, self._clock, self._on_outcome = at_once, clock, on_outcome
        self._orders: dict[str, LiftOrder] = {}
        self._news = asyncio.Event()
        self._following: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Orders that wait or are under way."""
        return len(self._orders)

    def find(self, key: str) -> LiftOrder | None:
        """The order of this name, while it waits or is under way."""
        return self._orders.get(key)

    @property
    def backlog_s(self) -> float:
        """How long the lifters have to do with what is ordered."""
        now_s = self._clock.now_s()
        return sum(order.left_s(now_s) for order in self._orders.values() if not order.is_elsewhere) / self._at_once

    def submit(self, order: LiftOrder) -> LiftOrder:
        """Have a segment lifted; an order of this name that is there already stands for it."""
        known = self._orders.get(order.key)
        if known is not None:
            return known
        self._orders[order.key] = order
        if len(self._orders) > WAITING_MAX:
            now_s = self._clock.now_s()
            self._close(min(self._waiting(), key=lambda each: each.worth(now_s)), Outcome.LATE)
        self._news.set()
        return order

    def ready_in_s(self, order: LiftOrder) -> float:
        """About how long it will take until an order is done."""
        now_s = self._clock.now_s()
        if order.began_s is not None:
            return order.left_s(now_s)
        worth = order.worth(now_s)
        others = (o for o in self._orders.values() if o is not order and not o.is_elsewhere)
        first = (o for o in others if o.began_s is not None or o.worth(now_s) > worth)
        return sum(other.left_s(now_s) for other in first) / self._at_once + order.cost_s

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Lifters at work, for as long as the block runs."""
        workers = [asyncio.create_task(self._work()) for _ in range(self._at_once)]
        try:
            yield
        finally:
            tasks = [*workers, *self._following]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            order = await self._take()
            try:
                if not await order.claim():
                    self._follow(order)
                    continue
                await order.work()
                self._close(order, Outcome.LIFTED)
            except LiftError as error:
                log.warning("%s: %s; it is served as it came", order.key, error)
                self._close(order, Outcome.FAILED)
            except Exception as error:
                log.exception("%s: %s", order.key, type(error).__name__)
                self._close(order, Outcome.FAILED)

    def _follow(self, order: LiftOrder) -> None:
        order.is_elsewhere = True
        task = asyncio.create_task(self._await_other(order))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _await_other(self, order: LiftOrder) -> None:
        """Until another node has lifted it; it waits for a lifter here again if that came to nothing."""
        if await order.follow():
            self._close(order, Outcome.SHARED)
            return
        order.is_elsewhere, order.began_s = False, None
        self._news.set()

    async def _take(self) -> LiftOrder:
        """The order that is worth most, once there is one. Those that have become too late go."""
        while (best := self._best()) is None:
            self._news.clear()
            await self._news.wait()
        best.began_s = self._clock.now_s()
        return best

    def _best(self) -> LiftOrder | None:
        now_s = self._clock.now_s()
        worths = [(order.worth(now_s), order) for order in self._waiting()]
        for worth, order in worths:
            if worth <= 0:
                self._close(order, Outcome.LATE)
        return max(worths, key=lambda pair: pair[0])[1] if any(worth > 0 for worth, _ in worths) else None

    def _waiting(self) -> list[LiftOrder]:
        return [order for order in self._orders.values() if order.began_s is None]

    def _close(self, order: LiftOrder, outcome: Outcome) -> None:
        del self._orders[order.key]
        order.outcome = outcome
        order.done.set()
        self._on_outcome(order)

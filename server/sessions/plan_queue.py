"""Controllers' long computations, one at a time beside the event loop: nobody waits for another viewer's plan.

Requests wait in a bounded queue in which addresses take turns, and with one address the titles that it asks for. Who
sends a thousand kinds of device delays its own plans only.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import NamedTuple, TypeGuard

from abr.core.arrays import Floats
from abr.core.control import Controller, PrecomputingController
from abr.core.options import Menu, PriceList

AHEAD_SEGMENTS = 10
"""What a viewer needs this many segments later is asked for now."""
CHECK_EVERY_SEGMENTS = 4
"""At every fourth segment only."""
WAITING_MAX = 1024
"""Requests that wait, of all."""
WAITING_EACH_MAX = 16
"""Of one address for one title. More are dropped: who still needs the plan asks again with the next segments."""
WAIT_MAX_S = 10.0
"""A controller that cannot decide without a plan is waited for no longer."""

log = logging.getLogger("toprung.plans")


class Requester(NamedTuple):
    """Who takes turns with whom."""

    address: str
    title: str


class PlanRequest(NamedTuple):
    """What a viewer's decisions rest on."""

    controller: PrecomputingController
    prices: PriceList
    segment: int
    weights_bytes: Floats
    buffer_max_s: float

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for requests of the same."""
        return id(self.controller), id(self.prices), self.segment, self.weights_bytes.tobytes(), self.buffer_max_s

    def is_precomputed(self) -> bool:
        """Whether nothing is left to do."""
        return self.controller.is_precomputed(self.prices, self.segment, self.weights_bytes, self.buffer_max_s)

    def precompute(self) -> None:
        """Do it, unless it has been done meanwhile."""
        if not self.is_precomputed():
            self.controller.precompute(self.prices, self.segment, self.weights_bytes, self.buffer_max_s)


class FairQueue:
    """Requests that wait: addresses take turns, and with one address its titles."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, OrderedDict[str, deque[PlanRequest]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, requester: Requester, request: PlanRequest) -> bool:
        """False when too many wait already."""
        if self._count >= WAITING_MAX:
            return False
        titles = self._waiting.setdefault(requester.address, OrderedDict())
        requests = titles.setdefault(requester.title, deque())
        if len(requests) >= WAITING_EACH_MAX:
            return False
        requests.append(request)
        self._count += 1
        return True

    def take(self) -> PlanRequest:
        """The next in turn; there is one."""
        address, titles = self._waiting.popitem(last=False)
        title, requests = titles.popitem(last=False)
        request = requests.popleft()
        if requests:
            titles[title] = requests
        if titles:
            self._waiting[address] = titles
        self._count -= 1
        return request


class PlanQueue:
    """One computation at a time: they would only take the processor from each other, and two may want the same."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="plan")
        self._waiting = FairQueue()
        self._asked: dict[tuple[object, ...], asyncio.Future[None]] = {}
        self._is_running = False
        self._is_over = False

    def close(self) -> None:
        """Nothing more is begun. The server stops: what is under way may fail, and nobody needs to know."""
        self._is_over = True

    async def all_made(self) -> None:
        """Returns when every plan that was asked for has been made."""
        while self._asked:
            await asyncio.wait(list(self._asked.values()))

    async def wait(self, controller: Controller, menu: Menu, buffer_max_s: float, requester: Requester) -> None:
        """Ask for the plans that the menu's segment needs, and those after it; what is there is not asked for.

        Waits only for controllers that cannot decide without, and no longer than WAIT_MAX_S.
        """
        prices = menu.prices
        if prices is None or not _precomputes(controller):
            return
        request = PlanRequest(controller, prices, menu.segment, menu.weights_bytes, buffer_max_s)
        if not request.is_precomputed():
            done = self._ask(request, requester)
            if done is not None and not getattr(controller, "decides_unplanned", False):
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(done), WAIT_MAX_S)
        later = menu.segment + AHEAD_SEGMENTS
        if later % CHECK_EVERY_SEGMENTS or later >= len(prices.duration_s):
            return
        request = request._replace(segment=later)
        if not request.is_precomputed():
            self._ask(request, requester)

    async def wait_for_all(
        self, controller: Controller, menus: Iterable[Menu], buffer_max_s: float, requester: Requester
    ) -> None:
        """Returns when the plans of every menu's segment are there, or are not to be had. One waits at a time."""
        if not _precomputes(controller):
            return
        for menu in menus:
            if (prices := menu.prices) is not None:
                request = PlanRequest(controller, prices, menu.segment, menu.weights_bytes, buffer_max_s)
                done = None if request.is_precomputed() else self._ask(request, requester)
                if done is not None:
                    await asyncio.shield(done)
            await asyncio.sleep(0)  # a long title has thousands of segments, and others are waiting

    def _ask(self, request: PlanRequest, requester: Requester) -> asyncio.Future[None] | None:
        """None when too many wait already."""
        key = request.key
        done = self._asked.get(key)
        if done is None and self._waiting.put(requester, request):
            done = self._asked[key] = asyncio.get_running_loop().create_future()
            self._run_next()
        return done

    def _run_next(self) -> None:
        if self._is_running or self._is_over or not len(self._waiting):
            return
        self._is_running = True
        request = self._waiting.take()
        running = asyncio.get_running_loop().run_in_executor(self._thread, request.precompute)
        running.add_done_callback(lambda _: self._finish(request, running))

    def _finish(self, request: PlanRequest, running: asyncio.Future[None]) -> None:
        self._is_running = False
        done = self._asked.pop(request.key)
        error = None if running.cancelled() else running.exception()
        if error is not None and not self._is_over:
            log.warning("a plan failed: %s: %s", type(error).__name__, error)
        if not done.done():
            done.set_result(None)
        self._run_next()


def _precomputes(controller: Controller) -> TypeGuard[PrecomputingController]:
    return _class_precomputes(type(controller))


@cache
def _class_precomputes(kind: type) -> bool:
    """Asking the protocol costs 20 µs."""
    return callable(getattr(kind, "is_precomputed", None)) and callable(getattr(kind, "precompute", None))

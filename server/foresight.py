"""Controllers' long computations, in a thread: the loop that serves everybody never waits for one viewer's plan."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeGuard

from abr.control import Controller, Foresighted
from abr.options import PriceList

AHEAD = 10
"""What a viewer needs this many segments later is begun now."""
LOOK_EVERY = 4
"""At every so manieth segment only."""


class Foresight:
    """One computation at a time: they would only take the processor from each other, and two may want the same."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="foresight")
        self._begun: set[asyncio.Future[None]] = set()

    async def wait(self, controller: Controller, prices: PriceList, segment: int, buffer_max_s: float) -> None:
        """Returns when `segment` can be decided at once; what comes later is begun, and not waited for."""
        if not _has_foresight(controller):
            return
        if not controller.foreseen(prices, segment, buffer_max_s):
            await self._begin(controller, prices, segment, buffer_max_s)
        later = segment + AHEAD
        if later % LOOK_EVERY or self._begun or later >= len(prices.duration_s):
            return
        if not controller.foreseen(prices, later, buffer_max_s):
            self._begin(controller, prices, later, buffer_max_s)

    def _begin(
        self, controller: Foresighted, prices: PriceList, segment: int, buffer_max_s: float
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        begun = loop.run_in_executor(self._thread, _foresee, controller, prices, segment, buffer_max_s)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        return begun


def _has_foresight(controller: Controller) -> TypeGuard[Foresighted]:
    return _kind_has_foresight(type(controller))


@cache
def _kind_has_foresight(kind: type) -> bool:
    """Asking the protocol costs 20 µs."""
    return callable(getattr(kind, "foreseen", None)) and callable(getattr(kind, "foresee", None))


def _foresee(controller: Foresighted, prices: PriceList, segment: int, buffer_max_s: float) -> None:
    if not controller.foreseen(prices, segment, buffer_max_s):
        controller.foresee(prices, segment, buffer_max_s)

"""Controllers' long computations, in a thread: the loop that serves everybody never waits for one viewer's plan."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, TypeGuard

from abr.control import Controller, Foresighted
from abr.options import Floats, Menu, PriceList

AHEAD = 10
"""What a viewer needs this many segments later is begun now."""
LOOK_EVERY = 4
"""At every so manieth segment only."""


class _Need(NamedTuple):
    """What a viewer's decisions rest on."""

    controller: Foresighted
    prices: PriceList
    weights_bytes: Floats
    buffer_max_s: float

    def foreseen(self, segment: int) -> bool:
        return self.controller.foreseen(self.prices, segment, self.weights_bytes, self.buffer_max_s)

    def foresee(self, segment: int) -> None:
        if not self.foreseen(segment):
            self.controller.foresee(self.prices, segment, self.weights_bytes, self.buffer_max_s)


class Foresight:
    """One computation at a time: they would only take the processor from each other, and two may want the same."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="foresight")
        self._begun: set[asyncio.Future[None]] = set()

    async def wait(self, controller: Controller, menu: Menu, buffer_max_s: float) -> None:
        """Returns when the menu's segment can be decided at once; what comes later is begun, and not waited for."""
        prices = menu.prices
        if prices is None or not _has_foresight(controller):
            return
        need = _Need(controller, prices, menu.weights_bytes, buffer_max_s)
        if not need.foreseen(menu.segment):
            await self._begin(need, menu.segment)
        later = menu.segment + AHEAD
        if later % LOOK_EVERY or self._begun or later >= len(prices.duration_s):
            return
        if not need.foreseen(later):
            self._begin(need, later)

    def _begin(self, need: _Need, segment: int) -> asyncio.Future[None]:
        begun = asyncio.get_running_loop().run_in_executor(self._thread, need.foresee, segment)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        return begun


def _has_foresight(controller: Controller) -> TypeGuard[Foresighted]:
    return _kind_has_foresight(type(controller))


@cache
def _kind_has_foresight(kind: type) -> bool:
    """Asking the protocol costs 20 µs."""
    return callable(getattr(kind, "foreseen", None)) and callable(getattr(kind, "foresee", None))

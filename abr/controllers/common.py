"""What the controllers share: the price list behind a menu, holes in a menu, deadlines, the network's estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, overload
from weakref import WeakKeyDictionary

import numpy as np

from abr.controllers.batch import ObservationBatch
from abr.core.arrays import Floats
from abr.core.control import Observation
from abr.core.options import NUMBER_MAX, Choice, Menu, PriceList
from abr.core.throughput import Estimate, dual_ewma

T = TypeVar("T")


def price_list_of(menu: Menu) -> PriceList:
    """The price list behind the menu, or one made of what the menu shows."""
    if menu.prices is not None:
        return menu.prices
    return PriceList(
        rendition_ids=(),
        choices=menu.choices,
        duration_s=menu.duration_s,
        size_bytes=menu.size_bytes,
        compute_s=menu.compute_s,
        lead_s=menu.lead_s,
        quality=menu.quality,
        vmaf=menu.vmaf,
        weights=(),
        weights_bytes={},
    )


def per_title(build: Callable[[PriceList], T]) -> Callable[[Menu | PriceList], T]:
    """Remember what `build` makes of a price list for as long as that list lives: same list, same answer."""
    cache: WeakKeyDictionary[PriceList, T] = WeakKeyDictionary()

    def look_up(menu: Menu | PriceList) -> T:
        prices = menu if isinstance(menu, PriceList) else price_list_of(menu)
        cached = cache.get(prices)
        if cached is None:
            cached = cache[prices] = build(prices)
        return cached

    return look_up


def is_offered(menu: Menu, option: int) -> bool:
    """Whether the option exists for the segment to be chosen: its size and quality are no holes."""
    size_bytes, vmaf = menu.size_bytes[0, option], menu.quality[0, option]
    return bool(abs(size_bytes) < NUMBER_MAX and abs(vmaf) < NUMBER_MAX)


def is_starting(observation: Observation) -> bool:
    """Whether nothing is known of the network yet: no download has finished."""
    return not observation.downloads


@overload
def estimate_throughput(observation: Observation) -> Estimate[float]: ...
@overload
def estimate_throughput(observation: ObservationBatch) -> Estimate[Floats]: ...
@overload
def estimate_throughput(observation: Observation | ObservationBatch) -> Estimate[float] | Estimate[Floats]: ...
def estimate_throughput(observation: Observation | ObservationBatch) -> Estimate[float] | Estimate[Floats]:
    """Dual moving average over the recent downloads, of one session or of each of a batch."""
    if isinstance(observation, ObservationBatch):
        return observation.expected
    return dual_ewma(observation.downloads, float(observation.menu.duration_s[0]))


def last_vmaf(observation: Observation) -> float | None:
    """Quality of the segment before this one as it was chosen; None at the start or when it is not known."""
    menu, last = observation.menu, observation.last
    if last is None:
        return None
    prices, before = price_list_of(menu), menu.segment - 1
    row = prices.quality[before] if menu.prices is not None and before >= 0 else menu.quality[0]
    option = _option_of(prices).get(last)
    if option is None:
        return None
    value = float(row[option])
    return value if abs(value) < NUMBER_MAX else None


@per_title
def _option_of(prices: PriceList) -> dict[Choice, int]:
    return {choice: option for option, choice in reversed(list(enumerate(prices.choices)))}


@contextmanager
def ignore_holes() -> Iterator[None]:
    """Arithmetic on holes gives NaN without a warning."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        yield

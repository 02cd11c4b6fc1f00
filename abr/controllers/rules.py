"""What the controllers share: the ladder behind a menu, holes in a menu, deadlines, the first segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from abr.control import Decision, Observation
from abr.crowd import Decisions, Indices, nothing_kept
from abr.enhancement import PLAIN
from abr.options import NUMBER_MAX, Choice, Floats, Menu, PriceList, told
from abr.throughput import Estimate, dual_ewma

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ladder:
    """The plain options of a title, lowest rate first.

    options: index of each in the menu; bps: mean rates. option_of, rate_of: the same as arrays. rung_of: for each
    option of the menu the rung of its rendition.
    """

    options: tuple[int, ...]
    bps: tuple[float, ...]
    option_of: Indices
    rate_of: Floats
    rung_of: Indices

    def last_rung(self, seen: Observation) -> int:
        """The rung of the choice before this one; the lowest at the start."""
        if seen.last is None:
            return 0
        renditions = [seen.menu.choices[option].rendition for option in self.options]
        return renditions.index(seen.last.rendition) if seen.last.rendition in renditions else 0

    def highest_within(self, bps: float) -> int:
        """The highest rung whose rate is at most `bps`; the lowest when none is."""
        return max((k for k, rate in enumerate(self.bps) if rate <= bps), default=0)

    def highest_within_many(self, bps: Floats) -> Indices:
        """`highest_within` for each of several rates."""
        return np.maximum(np.searchsorted(self.rate_of, bps, side="right") - 1, 0)

    def play(self, rung: Indices, memory: Floats | None = None) -> Decisions:
        """A crowd's decisions: each its rung, plain."""
        return Decisions(option=self.option_of[rung], memory=nothing_kept(len(rung)) if memory is None else memory)


def whole(menu: Menu) -> PriceList:
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
        vmaf=menu.vmaf,
        weights=(),
        weights_bytes={},
    )


def per_title(build: Callable[[PriceList], T]) -> Callable[[Menu | PriceList], T]:
    """Remember what `build` makes of a price list for as long as that list lives: same list, same answer."""
    known: WeakKeyDictionary[PriceList, T] = WeakKeyDictionary()

    def look_up(menu: Menu | PriceList) -> T:
        prices = menu if isinstance(menu, PriceList) else whole(menu)
        made = known.get(prices)
        if made is None:
            made = known[prices] = build(prices)
        return made

    return look_up


@per_title
def ladder(prices: PriceList) -> Ladder:
    """The plain options of the title by mean rate; all options when none is plain."""
    plain = [i for i, choice in enumerate(prices.choices) if choice.enhancer == PLAIN]
    seconds = float(prices.duration_s.sum())
    rates = {
        i: _mean_bytes(prices, i) * len(prices.duration_s) * 8 / seconds for i in plain or range(len(prices.choices))
    }
    ordered = sorted(rates, key=lambda i: rates[i])
    rungs = {prices.choices[i].rendition: rung for rung, i in reversed(list(enumerate(ordered)))}
    return Ladder(
        options=tuple(ordered),
        bps=tuple(rates[i] for i in ordered),
        option_of=np.array(ordered, dtype=np.intp),
        rate_of=np.array([rates[i] for i in ordered]),
        rung_of=np.array([rungs.get(choice.rendition, 0) for choice in prices.choices], dtype=np.intp),
    )


def _mean_bytes(prices: PriceList, option: int) -> float:
    sizes = prices.size_bytes[:, option]
    known = sizes[told(sizes)]
    return float(known.mean()) if len(known) else float("inf")


def offered(menu: Menu, option: int) -> bool:
    """Whether the option exists for the segment to be chosen: its size and quality are no holes."""
    size_bytes, vmaf = menu.size_bytes[0, option], menu.vmaf[0, option]
    return bool(abs(size_bytes) < NUMBER_MAX and abs(vmaf) < NUMBER_MAX)


def step_down(menu: Menu, rung: int) -> int:
    """The option of `rung`, or of the nearest rung below (then above) that is offered."""
    rungs = ladder(menu).options
    for option in (*reversed(rungs[: rung + 1]), *rungs[rung + 1 :]):
        if offered(menu, option):
            return option
    return rungs[0]


def in_time(seen: Observation, option: int) -> bool:
    """Whether the option's enhancement could be far enough before its segment is due, were the segment here at once."""
    menu = seen.menu
    return bool(menu.compute_s[0, option] == 0 or seen.backlog_s + menu.lead_s[0, option] <= seen.buffer_s)


def starting(seen: Observation) -> bool:
    """Nothing is known of the network yet: no download has finished."""
    return not seen.downloads


def start(seen: Observation) -> Decision:
    """The first segment: the lowest rung, plain, so that playing begins soon."""
    return Decision(option=step_down(seen.menu, 0), reason="start-up: lowest rung, nothing known of the network yet")


def expected(seen: Observation) -> Estimate:
    """Dual moving average over the recent downloads."""
    return dual_ewma(seen.downloads, float(seen.menu.duration_s[0]))


def last_vmaf(seen: Observation) -> float | None:
    """Quality of the segment before this one as it was chosen; None at the start or when it is not known."""
    if seen.last is None:
        return None
    prices, before = whole(seen.menu), seen.menu.segment - 1
    rows = prices.vmaf[before] if seen.menu.prices is not None and before >= 0 else seen.menu.vmaf[0]
    option = _places(prices).get(seen.last)
    if option is None:
        return None
    value = float(rows[option])
    return value if abs(value) < NUMBER_MAX else None


@per_title
def _places(prices: PriceList) -> dict[Choice, int]:
    return {choice: option for option, choice in reversed(list(enumerate(prices.choices)))}


@contextmanager
def quiet() -> Iterator[None]:
    """Arithmetic on holes gives NaN without a warning."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        yield

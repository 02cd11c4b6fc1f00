"""The bitrate ladder behind a menu, and controllers that choose a rung of it.

Such a controller states its rule once, in arithmetic that holds for one session and for many (`LadderController`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from abr.controllers.batch import ColumnController, DecisionBatch, ObservationBatch
from abr.controllers.common import is_offered, is_starting, per_title
from abr.core.arrays import Floats, Indices, Number
from abr.core.control import Decision, Observation
from abr.core.enhancement import PLAIN
from abr.core.options import Choice, Menu, PriceList, known_cells


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ladder:
    """The plain options of a title, lowest rate first: its K rungs.

    options: (K,) index of each in the menu; option_of: the same as an array. bps: (K,) mean rates; rates_bps: the same
    as an array. rung_of: the rung of each rendition; rung_of_option: (O,) the same for each option of the menu.
    """

    options: tuple[int, ...]
    option_of: Indices
    bps: tuple[float, ...]
    rates_bps: Floats
    rung_of: dict[int, int]
    rung_of_option: Indices

    def last_rung(self, last: Choice | Indices | None) -> int | Indices:
        """The rung of the choice before this one, or of M of them; the lowest at the start."""
        if isinstance(last, np.ndarray):
            rungs: Indices = self.rung_of_option[last]
            return rungs
        return 0 if last is None else self.rung_of.get(last.rendition, 0)

    def highest_within(self, bps: Number) -> int | Indices:
        """The highest rung whose rate is at most `bps`; the lowest when none is. One, or (M,) for as many rates."""
        if isinstance(bps, np.ndarray):
            return np.maximum(np.searchsorted(self.rates_bps, bps, side="right") - 1, 0)
        return max(bisect_right(self.bps, bps) - 1, 0)


@per_title
def ladder_of(prices: PriceList) -> Ladder:
    """The plain options of the title by mean rate; all options when none is plain."""
    plain = [i for i, choice in enumerate(prices.choices) if choice.enhancer == PLAIN]
    seconds = float(prices.duration_s.sum())
    rates = {
        i: _mean_bytes(prices, i) * len(prices.duration_s) * 8 / seconds for i in plain or range(len(prices.choices))
    }
    options = sorted(rates, key=lambda i: rates[i])
    rung_of = {prices.choices[i].rendition: rung for rung, i in reversed(list(enumerate(options)))}
    return Ladder(
        options=tuple(options),
        option_of=np.array(options, dtype=np.intp),
        bps=tuple(rates[i] for i in options),
        rates_bps=np.array([rates[i] for i in options]),
        rung_of=rung_of,
        rung_of_option=np.array([rung_of.get(choice.rendition, 0) for choice in prices.choices], dtype=np.intp),
    )


def _mean_bytes(prices: PriceList, option: int) -> float:
    sizes = prices.size_bytes[:, option]
    known = sizes[known_cells(sizes)]
    return float(known.mean()) if len(known) else float("inf")


def step_down(menu: Menu, rung: int) -> int:
    """The option of `rung`, or of the nearest rung below (then above) that is offered."""
    options = ladder_of(menu).options
    if is_offered(menu, options[rung]):
        return options[rung]
    for option in (*reversed(options[:rung]), *options[rung + 1 :]):
        if is_offered(menu, option):
            return option
    return options[0]


def start(observation: Observation) -> Decision:
    """The first segment: the lowest rung, plain, so that playing begins soon."""
    option = step_down(observation.menu, 0)
    return Decision(option=option, reason="start-up: lowest rung, nothing known of the network yet")


class RungChoice(msgspec.Struct, frozen=True):
    """What a rule answers: a rung each. reason: writes the reason, for one session only. memory: as in Decision."""

    rung: int | Indices
    reason: Callable[[], str]
    memory: tuple[Number, ...] = ()


class LadderController(ColumnController):
    """A controller that chooses a rung. Its rule is `choose`; deciding for one session or for many follows from it."""

    __slots__ = ()

    def choose(self, observation: Observation | ObservationBatch) -> RungChoice:
        """The rung for one session, or (M,) rungs for a batch: the same formula over numbers or columns."""
        raise NotImplementedError

    def decide(self, observation: Observation) -> Decision:
        """The first segment at the lowest rung, each other one as the rule says."""
        return start(observation) if is_starting(observation) else self.decide_rung(observation)

    def decide_rung(self, observation: Observation) -> Decision:
        """What the rule says; the nearest rung when the segment lacks that one."""
        choice = self.choose(observation)
        assert not isinstance(choice.rung, np.ndarray)
        option = step_down(observation.menu, choice.rung)
        return Decision(option=option, reason=choice.reason(), memory=choice.memory)  # type: ignore[arg-type]

    def decide_columns(self, batch: ObservationBatch) -> DecisionBatch:
        """What the rule says for each session."""
        choice = self.choose(batch)
        option = ladder_of(batch.menu).option_of[choice.rung]
        return DecisionBatch(option=option, memory=choice.memory)  # type: ignore[arg-type]

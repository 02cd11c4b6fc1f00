"""What the node has decided of one segment, for all who will watch it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.control import Decision
from abr.core.enhancement import PLAIN
from abr.core.options import Menu, PriceList, plain_of
from abr.records import Record

GAIN_MIN = 1.0
"""VMAF points. A lift that brings less is not worth its processor time, and the loss of encoding once more."""
_GAINS_NOTHING = f"the lift would gain less than {GAIN_MIN:g} point"
_REASON_MAX = 256

Points = Annotated[float, Meta(ge=-200, le=200)]


class EdgeChoice(Record, frozen=True):
    """One decided segment. gain: points that the enhancer adds to the rendition as it came, by the title's tables.

    work_s: seconds that one lifter takes for it, as it was priced.
    """

    rendition: str
    enhancer: str
    gain: Points
    quality: Points
    work_s: float
    reason: str

    @property
    def lifts(self) -> bool:
        """Whether the segment is to be lifted."""
        return self.enhancer != PLAIN


def choose(menu: Menu, decision: Decision, rendition_ids: tuple[str, ...]) -> EdgeChoice:
    """What a decision comes to for the first segment of a menu; plain where the lift would bring next to nothing."""
    choice = menu.choices[decision.option]
    quality = float(menu.quality[0, decision.option])
    plain = _plain_quality(menu, choice.rendition, quality)
    lifts = choice.enhancer != PLAIN and quality - plain >= GAIN_MIN
    return EdgeChoice(
        rendition=rendition_ids[choice.rendition],
        enhancer=choice.enhancer if lifts else PLAIN,
        gain=quality - plain if lifts else 0.0,
        quality=quality if lifts else plain,
        work_s=float(menu.lead_s[0, decision.option]) if lifts else 0.0,
        reason=decision.reason[:_REASON_MAX] if lifts or choice.enhancer == PLAIN else _GAINS_NOTHING,
    )


def best_lift(prices: PriceList, segment: int, before: EdgeChoice, owned: frozenset[str]) -> EdgeChoice | None:
    """What more can be made of bytes that are here, by weights that are: None where that is not worth while."""
    column = {choice: index for index, choice in enumerate(prices.choices)}
    rendition = prices.rendition_ids.index(before.rendition)
    lifts = [
        choice
        for choice, index in column.items()
        if choice.rendition == rendition and choice.enhancer != PLAIN and owned.issuperset(prices.weights[index])
    ]
    best = max(lifts, key=lambda choice: float(prices.quality[segment, column[choice]]), default=None)
    if best is None:
        return None
    quality = float(prices.quality[segment, column[best]])
    gain = quality - float(prices.quality[segment, plain_of(prices)[rendition]])
    if not gain >= GAIN_MIN:
        return None
    work_s = float(prices.lead_s[segment, column[best]])
    return msgspec.structs.replace(
        before, enhancer=best.enhancer, gain=gain, quality=quality, work_s=work_s, reason="lifted for the next"
    )


def _plain_quality(menu: Menu, rendition: int, otherwise: float) -> float:
    assert menu.prices is not None
    return (
        float(menu.quality[0, plain_of(menu.prices)[rendition]]) if menu.prices.choices == menu.choices else otherwise
    )

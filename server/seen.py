"""What a viewer's report means in terms of its title: how good a shown segment looked, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from abr.enhancement import PLAIN
from abr.events import Shown
from abr.options import PriceList


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One shown segment. enhancer: the one that was decided, a name from the title's table."""

    vmaf: float
    duration_s: float
    enhancer: str


def sight(event: Shown, prices: PriceList) -> Sight | None:
    """The segment as the title's tables price it; None when the player speaks of what the title does not have.

    Frames that fell back count as plain ones, so this is what was shown rather than what was promised.
    """
    enhanced = _vmaf(event, prices, event.enhancer)
    plain = _vmaf(event, prices, PLAIN)
    if enhanced is None or plain is None:
        return None
    share = min(1.0, event.enhanced_frames / event.frames) if event.frames else 0.0
    return Sight(
        vmaf=plain + share * (enhanced - plain),
        duration_s=float(prices.duration_s[event.segment]),
        enhancer=event.enhancer,
    )


def _vmaf(event: Shown, prices: PriceList, enhancer: str) -> float | None:
    if event.segment >= len(prices.duration_s):
        return None
    for option, choice in enumerate(prices.choices):
        if choice.enhancer == enhancer and prices.rendition_ids[choice.rendition] == event.rendition:
            return float(prices.vmaf[event.segment, option])
    return None

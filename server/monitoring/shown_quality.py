"""What a viewer's report means in terms of its title: how good a shown segment looked, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET

from abr.core.enhancement import PLAIN
from abr.core.events import Shown
from abr.core.options import PriceList


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQuality:
    """One shown segment. enhancer: the one that was decided, a name from the title's table.

    quality: in what decisions count. gained: of it, above plain playback. vmaf: beside it. energy_j: that enhancing
    took, as the player tells; or else by the device profile, for the frames that were enhanced.
    """

    quality: float
    vmaf: float
    energy_j: float
    duration_s: float
    enhancer: str
    gained: float = 0.0


def quality_shown(event: Shown, prices: PriceList) -> ShownQuality | None:
    """The segment as the title's tables price it; None when the player speaks of what the title does not have.

    Frames that fell back count as plain ones, so this is what was shown rather than what was promised.
    """
    enhanced = _option(event, prices, event.enhancer)
    plain = _option(event, prices, PLAIN)
    if enhanced is None or plain is None:
        return None

    def shown(of: Callable[[int, int], float]) -> float:
        before = of(event.segment, plain)
        return before + share * (of(event.segment, enhanced) - before)

    share = min(1.0, event.enhanced_frames / event.frames) if event.frames else 0.0
    quality = shown(prices.shown_quality)
    return ShownQuality(
        quality=quality,
        gained=quality - prices.shown_quality(event.segment, plain),
        vmaf=shown(lambda segment, option: float(prices.vmaf[segment, option])),
        energy_j=share * prices.energy_j(event.segment, enhanced) if event.energy_j is UNSET else event.energy_j,
        duration_s=float(prices.duration_s[event.segment]),
        enhancer=event.enhancer,
    )


def _option(event: Shown, prices: PriceList, enhancer: str) -> int | None:
    if event.segment >= len(prices.duration_s):
        return None
    for option, choice in enumerate(prices.choices):
        if choice.enhancer == enhancer and prices.rendition_ids[choice.rendition] == event.rendition:
            return option
    return None

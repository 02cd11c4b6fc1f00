"""What the options of a title cost this node: its own speed, less what the other titles take that are watched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import msgspec
import numpy as np

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.core.options import PriceList, plain_of
from abr.virtual_time import SessionClock
from client_player.edge.origin.titles import MirroredTitle
from server.lru_cache import LruCache

LOAD_MAX = 0.9
"""Share of its time that a lifter may be asked for."""
WORK_MAX = 4.0
"""Lifters' time that a second of video may take, in what a title may have: of slower lifts too few would be done."""
SLOWNESS_AT_FIRST = 1.5
"""Times as long as the profile says that lifting takes, with decoding, encoding and serving beside it."""
_SLOWNESS_STEP = 0.25
_SLOWNESS_MAX = 8.0
_LEARNT_SHARE = 0.2
"""Weight of the newest lift in the mean."""
_LISTS_MAX = 256
TAKEN_S = 15.0
"""A title of which nothing was decided for so long takes no time: it is all here, or nobody watches it."""
_NEWEST_SHARE = 0.3
"""Weight of a title's newest decision in what it is known to take: not each of its segments need be lifted."""
_SHARE_STEP = 0.05
"""Shares of lifters are counted in steps, so that few lists have to be made."""


class EdgePricing:
    """Prices titles for the node. profile: None for one that lifts nothing.

    A title may have what the others leave of the lifters' time, and an equal part of it at least. Where its lifts take
    more than that, they are left out for some segments: the controller knows how long each has to wait.
    """

    def __init__(
        self, profile: DeviceProfile | None, families: Collection[Family], lifters: int, clock: SessionClock
    ) -> None:
        self.profile, self._families, self._clock = profile, families, clock
        self.lifters = lifters
        self._taken: dict[str, tuple[float, float]] = {}
        """By key of each title: how many lifters' time its decisions take, and until when that counts."""
        self._slowness = SLOWNESS_AT_FIRST
        self._lists = LruCache[tuple[MirroredTitle, float, float], PriceList](_LISTS_MAX)

    def prices(self, title: MirroredTitle) -> PriceList:
        """The price list of a title, while the others take what they do now.

        compute_s: as if `left_for(title)` lifters worked on one segment. lead_s: all that one of them takes for it,
        since whole segments are lifted.
        """
        slowness, left = round(self._slowness / _SLOWNESS_STEP) * _SLOWNESS_STEP, self.left_for(title)
        key = (title, slowness, left)
        prices = self._lists.get(key)
        if prices is None:
            profile = self.profile and _slower(self.profile, slowness)
            prices = title.options.price(profile, families=self._families, load_max=WORK_MAX * left)
            prices = prices.only(_worth_offering(prices, left))
            prices = replace(prices, compute_s=prices.compute_s / left, lead_s=prices.compute_s)
            self._lists.put(key, prices)
        return prices

    def plain_prices(self, title: MirroredTitle) -> PriceList:
        """Without enhancers: for a title whose weights cannot be used."""
        return title.options.price(None)

    def left_for(self, title: MirroredTitle) -> float:
        """How many lifters' time a title may take, in steps; never none."""
        now_s, capacity = self._clock.now_s(), LOAD_MAX * self.lifters
        self._taken = {key: each for key, each in self._taken.items() if each[1] > now_s}
        others = [taken for key, (taken, _) in self._taken.items() if key != title.key]
        left = max(capacity / (len(others) + 1), capacity - sum(others))
        return max(1, round(left / _SHARE_STEP)) * _SHARE_STEP

    def take(self, title: MirroredTitle, lifters: float) -> None:
        """What was decided of a title takes so many lifters' time; for a while that is not left for others."""
        before, _ = self._taken.get(title.key, (lifters, 0.0))
        self._taken[title.key] = before + _NEWEST_SHARE * (lifters - before), self._clock.now_s() + TAKEN_S

    def learn(self, promised_s: float, took_s: float) -> None:
        """A lift that was priced at `promised_s` took so long."""
        if promised_s > 0:
            seen = min(_SLOWNESS_MAX, self._slowness * took_s / promised_s)
            self._slowness += _LEARNT_SHARE * (seen - self._slowness)


def _worth_offering(prices: PriceList, left: float) -> list[int]:
    """Options that can be had for all segments, and of a rendition's slower lifts the one that gains most a second.

    Slower lifts can be had for some segments only: a better one that takes longer would gain less in all.
    """
    work = prices.compute_s.sum(axis=0) / prices.duration_s.sum()
    quality = np.nanmean(prices.quality, axis=0)
    plain = plain_of(prices)
    slow: dict[int, tuple[float, int]] = {}
    for option, choice in enumerate(prices.choices):
        if work[option] > left:
            gain = quality[option] - quality[plain[choice.rendition]]
            slow[choice.rendition] = max((gain / work[option], option), slow.get(choice.rendition, (-np.inf, option)))
    kept = {option for _, option in slow.values()}
    return [option for option in range(len(prices.choices)) if work[option] <= left or option in kept]


def _slower(profile: DeviceProfile, times: float) -> DeviceProfile:
    measurements = tuple(
        msgspec.structs.replace(each, p50_ms=each.p50_ms * times, p95_ms=each.p95_ms * times)
        for each in profile.measurements
    )
    return msgspec.structs.replace(profile, measurements=measurements)

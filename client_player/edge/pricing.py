"""What the options of a title cost this node: its own speed, less what the other titles take that are watched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import msgspec

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.core.options import PriceList
from abr.virtual_time import SessionClock
from client_player.edge.origin.titles import MirroredTitle
from server.lru_cache import LruCache

LOAD_MAX = 0.9
"""Share of its time that a lifter may be asked for."""
SLOWNESS_AT_FIRST = 1.5
"""Times as long as the profile says that lifting takes, with decoding, encoding and serving beside it."""
_SLOWNESS_STEP = 0.25
_SLOWNESS_MAX = 8.0
_LEARNT_SHARE = 0.2
"""Weight of the newest lift in the mean."""
_LISTS_MAX = 256
TAKEN_S = 15.0
"""A title of which nothing was decided for so long takes no time: it is all here, or nobody watches it."""
_SHARE_STEP = 0.05
"""Shares of lifters are counted in steps, so that few lists have to be made."""


class EdgePricing:
    """Prices titles for the node. profile: None for one that lifts nothing.

    A title may have what the others leave of the lifters' time, and an equal part of it at least.
    """

    def __init__(
        self, profile: DeviceProfile | None, families: Collection[Family], lifters: int, clock: SessionClock
    ) -> None:
        self.profile, self._families, self._clock = profile, families, clock
        self.lifters = lifters
        self._taken: dict[str, tuple[float, float]] = {}
        """By key of each title: how many lifters' time its newest decision takes, and until when that counts."""
        self._slowness = SLOWNESS_AT_FIRST
        self._lists = LruCache[tuple[MirroredTitle, float, int], PriceList](_LISTS_MAX)

    def prices(self, title: MirroredTitle) -> PriceList:
        """The price list of a title, while the others take what they do now.

        compute_s: as if all lifters worked on one segment. lead_s: all of it, since whole segments are lifted.
        """
        steps = round(self._slowness / _SLOWNESS_STEP)
        key = (title, steps * _SLOWNESS_STEP, round(self.left_for(title) / _SHARE_STEP))
        prices = self._lists.get(key)
        if prices is None:
            profile = self.profile and _slower(self.profile, key[1])
            prices = title.options.price(profile, families=self._families, load_max=key[2] * _SHARE_STEP)
            compute_s = prices.compute_s / self.lifters
            prices = replace(prices, compute_s=compute_s, lead_s=compute_s)
            self._lists.put(key, prices)
        return prices

    def plain_prices(self, title: MirroredTitle) -> PriceList:
        """Without enhancers: for a title whose weights cannot be used."""
        return title.options.price(None)

    def left_for(self, title: MirroredTitle) -> float:
        """How many lifters' time a title may take."""
        now_s, capacity = self._clock.now_s(), LOAD_MAX * self.lifters
        self._taken = {key: each for key, each in self._taken.items() if each[1] > now_s}
        others = [taken for key, (taken, _) in self._taken.items() if key != title.key]
        return max(capacity / (len(others) + 1), capacity - sum(others))

    def take(self, title: MirroredTitle, lifters: float) -> None:
        """What was decided of a title takes so many lifters' time; for a while that is not left for others."""
        self._taken[title.key] = lifters, self._clock.now_s() + TAKEN_S

    def learn(self, promised_s: float, took_s: float) -> None:
        """A lift that was priced at `promised_s` took so long."""
        if promised_s > 0:
            seen = min(_SLOWNESS_MAX, self._slowness * took_s / promised_s)
            self._slowness += _LEARNT_SHARE * (seen - self._slowness)


def _slower(profile: DeviceProfile, times: float) -> DeviceProfile:
    measurements = tuple(
        msgspec.structs.replace(each, p50_ms=each.p50_ms * times, p95_ms=each.p95_ms * times)
        for each in profile.measurements
    )
    return msgspec.structs.replace(profile, measurements=measurements)

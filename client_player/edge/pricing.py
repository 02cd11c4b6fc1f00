"""What the options of a title cost this node: its own speed, shared among the titles that are watched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import msgspec

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.core.options import PriceList
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


class EdgePricing:
    """Prices titles for the node. profile: None for one that lifts nothing. watched: how many titles are, just now."""

    def __init__(self, profile: DeviceProfile | None, families: Collection[Family], lifters: int) -> None:
        self.profile, self._families = profile, families
        self.lifters = lifters
        self.watched = 1
        self._slowness = SLOWNESS_AT_FIRST
        self._lists = LruCache[tuple[MirroredTitle, float, int], PriceList](_LISTS_MAX)

    def prices(self, title: MirroredTitle) -> PriceList:
        """The price list of a title, while so many are watched as now.

        compute_s: as if all lifters worked on one segment. lead_s: all of it, since whole segments are lifted.
        """
        steps = round(self._slowness / _SLOWNESS_STEP)
        key = (title, steps * _SLOWNESS_STEP, max(1, self.watched))
        prices = self._lists.get(key)
        if prices is None:
            load_max = LOAD_MAX * self.lifters / key[2]
            profile = self.profile and _slower(self.profile, key[1])
            prices = title.options.price(profile, families=self._families, load_max=load_max)
            compute_s = prices.compute_s / self.lifters
            prices = replace(prices, compute_s=compute_s, lead_s=compute_s)
            self._lists.put(key, prices)
        return prices

    def plain_prices(self, title: MirroredTitle) -> PriceList:
        """Without enhancers: for a title whose weights cannot be used."""
        return title.options.price(None)

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

"""What a title offers one device: priced once, kept for all sessions that share title and device profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from abr.controllers.toprung.plan_library import FILES_MAX, PlanLibrary
from abr.core.arrays import Floats, stored_bytes
from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.core.events import Shown
from abr.core.options import PriceList
from abr.opinions.scales import CountedQuality
from server.concurrency.shared_call import SharedCalls
from server.live_titles.cache import LiveTitles
from server.lru_cache import LruCache
from server.media.library import LoadedTitle
from server.media.title_cache import TitleCache
from server.monitoring.shown_quality import ShownQuality
from server.session_service.live import LIST_BYTES, LiveSessions
from server.session_service.repository import SessionRepository
from server.sessions.decisions import PricedTitle
from server.sessions.plan_queue import Requester
from server.sessions.state import SessionState

PRICES_BYTES_MAX = 160 << 20
PROFILES_MAX = 65_536

QualityOf: TypeAlias = Callable[[Shown], ShownQuality | None]

PricingKey: TypeAlias = tuple[str, str, str, str, bytes, tuple[Family, ...]]
"""Title, kept version, revision, codec, the device profile's id, enhancer families."""


class PricingCache:
    """Price lists by title, version, revision and codec, device profile and enhancer families."""

    def __init__(
        self,
        title_cache: TitleCache,
        live_titles: LiveTitles,
        repository: SessionRepository,
        plans: PlanLibrary,
        counted: CountedQuality,
    ) -> None:
        """plans: what lies with a title goes in there, when it is first priced."""
        self.live = LiveSessions(live_titles, repository, counted)
        """The same for live titles."""
        self._counted = counted
        self._title_cache = title_cache
        self._repository = repository
        self._pricings: SharedCalls[PriceList] = SharedCalls()
        self._plain_pricings: SharedCalls[PriceList] = SharedCalls()
        """Of sessions without a device profile, who do not wait behind all the devices that others bring."""
        self._prices: LruCache[PricingKey, PriceList] = LruCache(PRICES_BYTES_MAX)
        self._shared: WeakValueDictionary[int, Floats] = WeakValueDictionary()
        """Tables that lists of one title share, by identity."""
        self._library = plans
        self._plans_taken: LruCache[tuple[str, str], str] = LruCache(FILES_MAX // 2)
        self._addresses: LruCache[bytes, str] = LruCache(PROFILES_MAX)

    async def priced_title(self, state: SessionState) -> PricedTitle:
        """The session's title and what it offers its device.

        Raises RequestError: 404 when the title is gone, 410 when the version that the session began with is.
        """
        loaded = await self._title_cache.title(state.title, state.version)
        which = state.title, loaded.kept
        if self._plans_taken.get(which) != loaded.revision:
            self._plans_taken.put(which, loaded.revision)
            for plans in await self._title_cache.plans(state.title, state.version):
                self._library.offer(plans)
        key = (*which, loaded.revision, state.codec, state.profile, state.families)
        prices = self._prices.get(key)
        if prices is None:
            profile = await self._repository.load_profile(state.profile)
            keep = partial(self._keep, key) if profile is not None or not state.profile else None
            what = _price, loaded, state.codec, profile, state.families, self._counted
            pricings = self._pricings if state.profile else self._plain_pricings
            priced = await pricings.run((key, profile is None), *what, keep=keep)
            prices = self._prices.get(key) or priced
        return PricedTitle(loaded.in_codec(state.codec), prices)

    def in_vmaf(self, quality_of: QualityOf) -> QualityOf:
        """The same in VMAF's points, where quality counts in those of a QoE that was learnt from such."""

        def of(event: Shown) -> ShownQuality | None:
            seen = quality_of(event)
            return seen if seen is None else replace(seen, quality=seen.vmaf)

        return quality_of if self._counted.qoe is None else of

    def _keep(self, key: PricingKey, priced: PriceList) -> None:
        self._prices.put(key, priced, LIST_BYTES + self._table_bytes(priced))

    def _table_bytes(self, prices: PriceList) -> int:
        """Of its tables; those that another list has too count for that one."""
        size_bytes = stored_bytes(prices.compute_s) + stored_bytes(prices.lead_s)
        for table in (prices.size_bytes, prices.quality, prices.vmaf):
            if id(table) not in self._shared:
                self._shared[id(table)] = table
                size_bytes += table.nbytes
        return size_bytes

    def requester(self, state: SessionState, address: str = "") -> Requester:
        """With whom the session's plans take turns: the address that first brought its device profile."""
        known = self._addresses.get(state.profile)
        if known is None:
            known = address
            if address:
                self._addresses.put(state.profile, address)
        return Requester(known, state.title)


def _price(
    loaded: LoadedTitle,
    codec: str,
    profile: DeviceProfile | None,
    families: tuple[Family, ...],
    counted: CountedQuality,
) -> PriceList:
    prices = loaded.options(codec, counted).price(profile, families=families)
    return replace(prices, compute_s=_repeated(prices.compute_s), lead_s=_repeated(prices.lead_s))


def _repeated(table: Floats) -> Floats:
    """The same table; one row stands for all when they are equal, as where all segments have as many frames."""
    row = table[:1].copy()
    return np.broadcast_to(row, table.shape) if (table == row).all() else table

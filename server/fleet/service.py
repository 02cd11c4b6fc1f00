"""The fleet, as the session service and the pages see it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import numpy as np

from abr.controllers.toprung.speed_classes import SpeedClass, reference_ms, speed_class
from abr.core.device import DeviceProfile
from abr.core.events import AnyEvent, Shown
from abr.core.options import PriceList
from server.clock import Clock
from server.fleet.report import DevicesView, report
from server.fleet.tally import DAYS, DayStore, count_opened, count_shown, tier_of
from server.lru_cache import LruCache
from server.monitoring.fleet_metrics import FleetMetrics
from server.monitoring.shown_quality import ShownQuality
from server.sessions.state import SessionState
from server.sessions.store import StoreError

FLUSH_EVERY_S = 5.0
"""What a worker has counted goes to the store so often; a worker that is killed loses no more."""
PROFILES_MAX = 65_536

log = logging.getLogger("toprung.fleet")


class _Seen(NamedTuple):
    """What counts of a device profile."""

    device: SpeedClass
    reference_ms: float | None


class Fleet:
    """Counts devices and what tiers do on them, and tells what came of it over all workers.

    load_profile: of the session store; None when it is lost.
    """

    def __init__(
        self,
        store: DayStore,
        clock: Clock,
        metrics: FleetMetrics,
        load_profile: Callable[[bytes], Awaitable[DeviceProfile | None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._load_profile = load_profile
        self._profiles: LruCache[bytes, _Seen] = LruCache(PROFILES_MAX)
        self._unsaved: Counter[str] = Counter()
        self._saving = asyncio.Lock()

    def count_session(self, state: SessionState, profile: DeviceProfile | None, prices: PriceList) -> None:
        """A session was opened with this profile, and is offered these options."""
        seen = self._remember(state.profile, profile)
        loads = _loads(prices) if profile is not None else {}
        self._unsaved.update(count_opened(seen.device, seen.reference_ms, loads))
        self._metrics.count_session(seen.device)

    async def note(
        self, state: SessionState, events: Sequence[AnyEvent], quality_of: Callable[[Shown], ShownQuality | None]
    ) -> None:
        """Count what a player tells of segments that it has shown."""
        shown = [(event, seen) for event in events if isinstance(event, Shown) and (seen := quality_of(event))]
        if not shown:
            return
        device = (await self._seen(state.profile)).device
        for event, seen in shown:
            self._metrics.count_shown(device, tier_of(seen.enhancer), event, seen)
            cells = count_shown(
                device,
                seen,
                frames=event.frames,
                enhanced=event.enhanced_frames,
                late=event.late_frames,
                p50_ms=event.enhance_p50_ms,
                p95_ms=event.enhance_p95_ms,
            )
            self._unsaved.update(cells)

    async def report(self) -> DevicesView:
        """What came of the last days, over all workers. Raises StoreError."""
        await self.flush()
        return report(await self._store.since(self._day(), DAYS), DAYS)

    async def flush(self) -> None:
        """Bring what was counted to the store; it stays counted here when that fails. Raises StoreError."""
        async with self._saving:
            cells, self._unsaved = self._unsaved, Counter()
            if cells:
                try:
                    await self._store.add(self._day(), cells)
                except StoreError:
                    self._unsaved.update(cells)
                    raise

    async def keep_flushing(self) -> None:
        """Flush now and then, for ever."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self._try_to_flush()

    async def close(self) -> None:
        """Flush a last time, and let go of connections."""
        await self._try_to_flush()
        await self._store.close()

    async def _try_to_flush(self) -> None:
        try:
            await self.flush()
        except StoreError as error:
            log.debug("%s; what was counted of devices waits", error)  # the session store warns already

    async def _seen(self, key: bytes) -> _Seen:
        seen = self._profiles.get(key)
        return seen or self._remember(key, await self._load_profile(key))

    def _remember(self, key: bytes, profile: DeviceProfile | None) -> _Seen:
        frame_ms = reference_ms(profile)
        seen = _Seen(speed_class(frame_ms), frame_ms)
        if profile is not None or not key:  # a lost one may come back
            self._profiles.put(key, seen)
        return seen

    def _day(self) -> int:
        return int(self._clock() // 86_400)


def _loads(prices: PriceList) -> dict[str, float]:
    """Seconds of compute for a second of video that each tier on offer takes: the mean over what it lifts."""
    loads = prices.compute_s.mean(axis=0) / prices.duration_s.mean()
    found: dict[str, list[float]] = {}
    for choice, load in zip(prices.choices, loads.tolist(), strict=True):
        if (tier := tier_of(choice.enhancer)) and np.isfinite(load) and load > 0:
            found.setdefault(tier, []).append(load)
    return {tier: sum(each) / len(each) for tier, each in found.items()}

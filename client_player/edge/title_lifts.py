"""The lifts of one title: ordered for who will watch them, done once, and kept."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial

from abr.core.device import Measurement
from abr.core.enhancement import Offer, PlanOffer
from abr.core.title import INIT_FILE, Rendition, segment_file
from abr.errors import ToprungError
from client_player.edge.accounting.saved_bytes import bytes_of_equal_quality
from client_player.edge.choice import EdgeChoice
from client_player.edge.lifts.lift_process import LiftError
from client_player.edge.lifts.lift_queue import LiftOrder
from client_player.edge.lifts.lifting import SEGMENT_MAX_S, LiftedSegment, LiftJob
from client_player.edge.origin.backhaul import OriginAwayError
from client_player.edge.origin.mirror import MEDIA_WORTH
from client_player.edge.origin.titles import MirroredTitle
from client_player.edge.origin.weights import TitleWeights
from client_player.edge.playheads import Playheads, Viewer
from client_player.edge.workshop import Workshop
from server.concurrency.shared_task import SharedTasks

RESERVE_S = 1.0
"""Buffered media that a viewer is left with when a lift is no longer waited for."""
HOLD_MAX_S = 8.0
"""The longest that a request is held back: players give up on one after 10 s and more."""
_FAILURES_MAX = 3
"""After so many lifts that failed nothing of a title is lifted any more."""

log = logging.getLogger("toprung.edge")


class TitleLifts:
    """Lifts segments of a title as was decided of them."""

    def __init__(self, title: MirroredTitle, shop: Workshop, playheads: Playheads) -> None:
        self._title, self._shop, self._playheads = title, shop, playheads
        self.weights = TitleWeights(title, shop.mirror, shop.cache)
        self._finding = SharedTasks[bool]()
        self._failures = 0

    def can_lift(self, segment: int) -> bool:
        """Whether this segment may be lifted at all, now. A title whose weights cannot be used is left as it came."""
        if self._shop.ledger.loss is not None:
            return False
        is_short = self._title.title.segment_duration_s[segment] <= SEGMENT_MAX_S
        return is_short and self._failures < _FAILURES_MAX and not self.weights.refused

    def key(self, segment: int) -> str:
        """The name of a lifted segment in the cache."""
        return f"{self._title.key}edge/{segment_file(segment)}"

    async def have(self, segment: int, choice: EdgeChoice) -> bool:
        """Whether a segment is here, lifted; another node's lift is fetched from there."""
        key, site = self.key(segment), self._shop.site
        if key in self._shop.cache or not site.is_shared:
            return key in self._shop.cache
        return await self._finding.run(key, lambda: self._take(key, choice))

    def order(self, segment: int, choice: EdgeChoice) -> LiftOrder | None:
        """The order to lift a segment; None where it would come too late for everybody, or cannot be done yet."""
        if (known := self._shop.queue.find(self.key(segment))) is not None:
            return known
        if not self._can_begin(segment, choice):
            return None
        order = LiftOrder(
            key=self.key(segment),
            gain=choice.gain,
            cost_s=choice.work_s,
            due=partial(self._playheads.due, segment=segment),
            later=partial(self._playheads.later, segment),
            work=partial(self._lift, segment, choice),
            claim=partial(self._shop.site.claim, self.key(segment)),
            follow=partial(self._follow, segment, choice),
        )
        return self._shop.queue.submit(order) if order.worth(self._shop.clock.now_s()) > 0 else None

    async def wait(self, segment: int, choice: EdgeChoice, viewer: Viewer) -> None:
        """Until a segment is lifted, or as long as the viewer can spare; not at all where that would be in vain."""
        order = self.order(segment, choice)
        spare_s = min(HOLD_MAX_S, viewer.buffer_at(self._shop.clock.now_s()) - RESERVE_S)
        if order is not None and self._shop.queue.ready_in_s(order) <= spare_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(spare_s):
                    await order.done.wait()

    async def _lift(self, segment: int, choice: EdgeChoice) -> None:
        """Raises LiftError."""
        is_here = False
        try:
            await self._lift_here(segment, choice)
            is_here = True
        finally:
            await self._shop.site.release(self.key(segment), is_here=is_here)

    async def _lift_here(self, segment: int, choice: EdgeChoice) -> None:
        shop, cpu_s = self._shop, 0.0
        try:
            job = await self.job(segment, choice)
            began_s = shop.clock.now_s()
            shop.ledger.energy.begin()
            try:
                lifted = await shop.lifters.lift(job)
                cpu_s = lifted.cpu_s
            finally:
                energy_j = shop.ledger.energy.end(cpu_s)
        except ToprungError as error:
            self._failures += not isinstance(error, OriginAwayError)
            raise LiftError(str(error)) from error
        await self.keep(segment, choice, lifted, energy_j)
        took_s = shop.clock.now_s() - began_s
        shop.pricing.learn(choice.work_s, took_s)
        shop.metrics.lift_s.observe(took_s)
        log.info("%s: lifted by %s in %.2f s", self.key(segment), choice.enhancer, took_s)

    async def keep(self, segment: int, choice: EdgeChoice, lifted: LiftedSegment, energy_j: float) -> None:
        """A lifted segment goes into the cache, and what it took into the books."""
        await self._shop.cache.put(self.key(segment), lifted.body, MEDIA_WORTH + choice.gain)
        title = self._title.title
        plain_bytes = bytes_of_equal_quality(self._shop.pricing.prices(self._title), segment, choice.quality)
        self._shop.ledger.lifted(
            media_s=title.segment_duration_s[segment],
            cpu_s=lifted.cpu_s,
            energy_j=energy_j,
            saved_bytes=plain_bytes - title.rendition(choice.rendition).segment_bytes[segment],
        )

    async def _follow(self, segment: int, choice: EdgeChoice) -> bool:
        await self._shop.site.until_released(self.key(segment))
        return await self.have(segment, choice)

    async def _take(self, key: str, choice: EdgeChoice) -> bool:
        if (body := await self._shop.site.find(key)) is None:
            return False
        await self._shop.cache.put(key, body, MEDIA_WORTH + choice.gain)
        await self._shop.site.release(key, is_here=True)
        return True

    async def close(self) -> None:
        """Give up what is under way."""
        await self._finding.close()
        await self.weights.close()

    def _can_begin(self, segment: int, choice: EdgeChoice) -> bool:
        _, offer = self._named(choice)
        rendition = self._title.title.rendition(choice.rendition)
        if offer is None or self._measured(offer, rendition) is None:
            return False
        return self.can_lift(segment) and self.weights.has(offer)

    async def job(self, segment: int, choice: EdgeChoice) -> LiftJob:
        """What a lifter needs, fetched where it is not here.

        Raises LiftError for a choice that the title's tables no longer know, OriginAwayError, DownloadError.
        """
        title = self._title.title
        rendition = title.rendition(choice.rendition)
        plan, offer = self._named(choice)
        measured = self._measured(offer, rendition)
        if offer is None or measured is None:
            raise LiftError(f"{choice.enhancer} is no longer offered for {choice.rendition}")
        folder = f"{self._title.key}video/{rendition.id}/"
        init = await self._shop.mirror.lasting(f"{folder}{INIT_FILE}", "video")
        media = await self._shop.mirror.lasting(f"{folder}{segment_file(segment)}", "video")
        return LiftJob(
            segment=segment,
            data=init.body + media.body,
            first_frame=self._title.first_frame[segment],
            frames=title.segment_frames[segment],
            rate=self._title.rate,
            size_px=(rendition.width_px, rendition.height_px),
            display_px=(title.display_width_px, title.display_height_px),
            offer=plan.offer if plan else offer,
            plan=plan,
            plan_frames=title.segment_frames if plan else (),
            chunks=await self.weights.chunks(offer),
            backend=measured.backend,
            threads=measured.threads,
            cap_bps=max(each.bandwidth_bps for each in title.renditions),
        )

    def _named(self, choice: EdgeChoice) -> tuple[PlanOffer | None, Offer | None]:
        """The frame plan that was decided, if it is one, and the offer with all that has to be fetched for it."""
        table = self._title.table
        if table is None:
            return None, None
        if (plan := table.plan(choice.enhancer, choice.rendition)) is not None:
            return plan, plan.download
        entry = next((each for each in table.enhancers if each.name == choice.enhancer), None)
        return None, entry.offer(choice.rendition) if entry else None

    def _measured(self, offer: Offer | None, rendition: Rendition) -> Measurement | None:
        profile = self._shop.pricing.profile
        if offer is None or profile is None:
            return None
        return profile.best(offer.architecture, rendition.width_px, rendition.height_px)

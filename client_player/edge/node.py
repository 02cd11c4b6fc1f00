"""The node: the titles that are watched, each with its feed, and the answers to what viewers ask."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.core.title import CHAPTERS_FILE, TITLE_FILE
from abr.protocols.edge_api import EnhanceAt, EnhanceAtRequest
from client_player.edge.enhance_at import Place, choose_place, gain_of
from client_player.edge.feed import SegmentAnswer, TitleFeed
from client_player.edge.origin.titles import MirroredTitle, Titles
from client_player.edge.workshop import Workshop
from server.errors import RequestError
from server.media.versions import split_version

FEEDS_MAX = 64
"""Titles that may be watched at once."""
LOOK_S = 1.0
"""How often the node looks after feeds whose viewers have gone."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_LASTING = re.compile(
    rf"(video|audio)/{_NAME}/(init(-[a-z0-9]{{4}})?\.mp4|seg-[0-9]{{5,8}}\.m4s)|subtitles/{_NAME}(\.vtt|/(init\.mp4|seg-[0-9]{{5,8}}\.m4s))|thumbnails/sheet-[0-9]{{5,8}}\.jpg"
)
_WEIGHTS = re.compile(rf"enhancers/{_NAME}")
_DOCUMENT = re.compile(
    rf"manifest(-[a-z0-9]+)?\.mpd|{re.escape(TITLE_FILE)}|{re.escape(ENHANCEMENTS_FILE)}|{re.escape(CHAPTERS_FILE)}"
    rf"|plans(-[a-z0-9]+)?\.bin|{_NAME}\.m3u8"
)

log = logging.getLogger("toprung.edge")


class Node:
    """What one edge node does for its viewers. Use `running` around it."""

    def __init__(self, shop: Workshop, titles: Titles) -> None:
        self._shop, self.titles = shop, titles
        self._feeds: dict[str, tuple[TitleFeed, asyncio.Task[None]]] = {}

    async def segment(
        self, title_id: str, version: str, segment: int, viewer_name: str, told_buffer_s: float | None
    ) -> SegmentAnswer:
        """A video segment for a viewer: lifted, if that can be had in time.

        Raises RequestError 404 for one that the title does not have, OriginAwayError, DownloadError, FormatError.
        """
        title = await self.titles.get(title_id, version)
        if segment >= len(title.title.segment_frames):
            raise RequestError(404, f"{title_id} has {len(title.title.segment_frames)} segments.")
        feed = self._feed(title)
        viewer = feed.playheads.asks(self._shop.clock.now_s(), segment, viewer_name, told_buffer_s)
        try:
            answer = await feed.answer(segment, viewer)
        finally:
            viewer.waits = False
        feed.playheads.sent(self._shop.clock.now_s(), viewer, segment)
        self._count(title, segment, answer)
        return answer

    async def file(self, title_id: str, path: str) -> bytes:
        """Any other file of a title, as the origin has it. path: below the title's folder; media with its version.

        Raises RequestError 404 for what no title has, OriginAwayError, DownloadError.
        """
        version, relative = split_version(path)
        where = f"{title_id}/{path}"
        if _LASTING.fullmatch(relative) and version:
            kind = "sound" if relative.startswith("audio/") else "video"
            return (await self._shop.mirror.lasting(where, kind)).body
        if _DOCUMENT.fullmatch(relative) or _WEIGHTS.fullmatch(relative):
            return await self._shop.mirror.document(where)
        raise RequestError(404, "There is nothing here that an edge node mirrors.")

    async def enhance_at(self, title_id: str, asked: EnhanceAtRequest) -> tuple[EnhanceAt, str]:
        """Where the pictures of a device are to be enhanced, and why.

        Raises OriginAwayError, DownloadError, FormatError.
        """
        title, shop = await self.titles.get(title_id), self._shop
        known = self._feeds.get(title.key)
        rendition = known[0].rendition if known is not None else 0
        device = await asyncio.to_thread(title.options.price, asked.profile, families=asked.families)
        place, reason = choose_place(
            Place(
                device_gain=gain_of(device, rendition),
                edge_gain=gain_of(shop.pricing.prices(title), rendition) if shop.ledger.loss is None else 0.0,
                last_hop_bps=asked.throughput_bps,
                lifted_bps=max(each.average_bps for each in title.title.renditions),
                backlog_s=shop.queue.backlog_s,
                wish=asked.profile.wish,
            )
        )
        shop.metrics.placed.labels(str(place)).inc()
        return place, reason

    def exposition(self) -> bytes:
        """The metrics, with what is so at this moment."""
        shop, metrics = self._shop, self._shop.metrics
        metrics.viewers.set(sum(len(feed.playheads) for feed, _ in self._feeds.values()))
        metrics.queue_length.set(len(shop.queue))
        metrics.backlog_s.set(shop.queue.backlog_s)
        metrics.cache_bytes.set(shop.cache.size_bytes)
        for fault in ("damaged", "evicted", "refused"):
            metrics.cache_faults.labels(fault).set(getattr(shop.cache, fault))
        metrics.origin_up.set(shop.mirror.origin_up)
        metrics.pays.set(shop.ledger.loss is None)
        metrics.site_up.set(shop.site.is_shared)
        return metrics.exposition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Lifters and feeds at work, for as long as the block runs."""
        looking = asyncio.create_task(self._look_after())
        try:
            async with self._shop.queue.working():
                yield
        finally:
            tasks = [looking, *(task for _, task in self._feeds.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for feed, _ in self._feeds.values():
                await feed.close()
            await self._shop.mirror.close()

    def _feed(self, title: MirroredTitle) -> TitleFeed:
        known = self._feeds.get(title.key)
        if known is not None and known[0].title is title:
            return known[0]
        if known is None and len(self._feeds) >= FEEDS_MAX:
            raise RequestError(
                503, f"{FEEDS_MAX} titles are being watched here; try again later.", {"Retry-After": "30"}
            )
        feed = TitleFeed(title, self._shop)
        if known is not None:  # its tables have changed; what was decided of it stays decided
            known[1].cancel()
            feed.take_over(known[0])
        self._feeds[title.key] = feed, asyncio.create_task(self._keep_feeding(feed))
        return feed

    async def _keep_feeding(self, feed: TitleFeed) -> None:
        while True:
            try:
                await feed.feed()
            except Exception:
                log.exception("feeding %s", feed.title.key)
                await asyncio.sleep(LOOK_S)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = self._shop.clock.now_s()
            for key, (feed, task) in list(self._feeds.items()):
                if not feed.playheads.present(now_s):
                    task.cancel()
                    del self._feeds[key]
                    await feed.close()

    def _count(self, title: MirroredTitle, segment: int, answer: SegmentAnswer) -> None:
        metrics = self._shop.metrics
        metrics.segments.labels(answer.form).inc()
        if answer.form == "late":
            metrics.deadline_misses.inc()
        if answer.form == "lifted":
            metrics.gained_points.inc(max(0.0, answer.choice.gain) * title.title.segment_duration_s[segment])

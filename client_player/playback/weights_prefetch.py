"""Downloads the weights of decided enhancers while the title plays, without causing a stall.

A segment waits for its enhancer's weights only as long as the buffer allows. Chunks that are missing then are
downloaded behind the next segments. Meanwhile the exits whose chunks are here are used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from abr.core.control import Download
from abr.core.enhancement import Chunk, Offer
from abr.virtual_time import SessionClock
from client_player.playback.timeline import Timeline
from client_player.playback.weights import WeightsStore
from client_player.transport.http import HttpReply, Transport

STARTUP_WAIT_MAX_S = 5.0
"""How long start-up may wait for weights."""
RESERVE_S = 1.5
"""Buffered media that must be left when a segment stops waiting: enough to decode and show its first frames."""
AMPLE_BUFFER_S = 6.0
"""With this much media buffered, chunks may share the link with segments; with less, one chunk a segment."""
VAIN_WAITS_MAX = 3


class WeightsPrefetcher:
    """Fetches the weights of one session. on_chunk gets each chunk and its reply; on_failure gets a message."""

    def __init__(
        self,
        transport: Transport,
        title_url: str,
        *,
        timeline: Timeline,
        clock: SessionClock,
        on_chunk: Callable[[Chunk, HttpReply], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._timeline, self._clock, self._on_chunk, self._on_failure = timeline, clock, on_chunk, on_failure
        self._fetched: list[Download] = []
        self._tasks: dict[Offer, asyncio.Task[bool]] = {}
        self._waits_without_progress: dict[Offer, tuple[int, int]] = {}
        self._reported: set[Offer] = set()
        self._may_start = asyncio.Event()
        self.weights = WeightsStore(transport, title_url, on_chunk=self._chunk_arrived, on_failure=on_failure)

    async def fetch(self, offer: Offer) -> bool:
        """Whether all chunks of the offer are here, after waiting as long as the buffer allows.

        When they are not, the download continues in the background.
        """
        if self.weights.owns(offer):
            return True
        self._may_start.set()
        task = self._fetching_task(offer)
        if self._may_wait(offer):
            waited_s = self._time_to_spare_s()
            await asyncio.wait({task}, timeout=waited_s)
            if not task.done():
                self._report_delay(offer, waited_s)
        if self._buffer_s() < AMPLE_BUFFER_S:
            self._may_start.clear()
        return self.weights.owns(offer)

    def _may_wait(self, offer: Offer) -> bool:
        """False when several waits in a row brought no chunk: a silent server must not keep the buffer low."""
        owned_chunks = self._count_owned(offer)
        before, vain = self._waits_without_progress.get(offer, (-1, 0))
        vain = vain + 1 if owned_chunks == before else 0
        self._waits_without_progress[offer] = (owned_chunks, vain)
        return vain < VAIN_WAITS_MAX

    def _count_owned(self, offer: Offer) -> int:
        return sum(chunk.sha256 in self.weights.owned for chunk in offer.chunks)

    def _report_delay(self, offer: Offer, waited_s: float) -> None:
        if offer not in self._reported:
            self._reported.add(offer)
            owned_chunks, all_chunks = self._count_owned(offer), len(offer.chunks)
            self._on_failure(
                f"{offer.architecture} for {offer.rendition} is late: {owned_chunks} of {all_chunks} chunks came "
                f"in the {waited_s:.1f} s that playback could spare; they are used until the rest comes"
            )

    def take_downloads(self) -> list[Download]:
        """The downloads that were completed since the last call."""
        fetched, self._fetched = self._fetched, []
        return fetched

    def stop(self) -> None:
        """Cancel the downloads in the background."""
        for task in self._tasks.values():
            task.cancel()

    def _fetching_task(self, offer: Offer) -> asyncio.Task[bool]:
        task = self._tasks.get(offer)
        if task is None or task.done():
            task = self._tasks[offer] = asyncio.create_task(self.weights.fetch(offer, self._may_start))
        return task

    def _time_to_spare_s(self) -> float:
        return max(0.0, self._buffer_s() - RESERVE_S) if self._timeline.started else STARTUP_WAIT_MAX_S

    def _buffer_s(self) -> float:
        return self._timeline.buffer_s(self._clock.now_s())

    def _chunk_arrived(self, chunk: Chunk, reply: HttpReply) -> None:
        self._fetched.append(reply.timing)
        self._on_chunk(chunk, reply)

"""Brings the weights of decided enhancers while the title plays, and never at the price of a stall.

A segment waits for its enhancer's weights only as long as playback can spare. What has not come by then comes behind
the next segments, chunk by chunk, and the exits whose chunks are here serve meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from abr.clock import SessionClock
from abr.control import Download
from abr.enhancement import Chunk, Offer
from client_player.download import Reply, Transport
from client_player.playout import Playout
from client_player.weights import WeightsStore

STARTUP_PATIENCE_S = 5.0
"""How long the first picture may wait for weights."""
RESERVE_S = 1.5
"""Media that must be left when a segment stops waiting: enough to decode and show its first frames."""
COMFORT_S = 6.0
"""With this much media in hand, one chunk after the other may share the link with segments; else one a segment."""
FRUITLESS_MAX = 3


class Supply:
    """The weights of one session. `came` hears of each chunk, `failed` of troubles."""

    def __init__(
        self,
        transport: Transport,
        title_url: str,
        *,
        playout: Playout,
        clock: SessionClock,
        came: Callable[[Chunk, Reply], None],
        failed: Callable[[str], None],
    ) -> None:
        self._playout, self._clock, self._came, self._failed = playout, clock, came, failed
        self._fetched: list[Download] = []
        self._coming: dict[Offer, asyncio.Task[bool]] = {}
        self._waits: dict[Offer, tuple[int, int]] = {}
        self._told: set[Offer] = set()
        self._may = asyncio.Event()
        self.weights = WeightsStore(transport, title_url, on_chunk=self._chunk_came, on_failure=failed)

    async def bring(self, offer: Offer) -> bool:
        """Whether all of it is here, after waiting for as long as can be spared; else it goes on coming."""
        if self.weights.owns(offer):
            return True
        self._may.set()
        task = self._task(offer)
        if self._worth_waiting(offer):
            waited_s = self._spare_s()
            await asyncio.wait({task}, timeout=waited_s)
            if not task.done():
                self._tell(offer, waited_s)
        if self._buffer_s() < COMFORT_S:
            self._may.clear()
        return self.weights.owns(offer)

    def _worth_waiting(self, offer: Offer) -> bool:
        """Not when several waits in a row brought nothing: a server that is silent must not keep the buffer low."""
        here = self._here(offer)
        before, fruitless = self._waits.get(offer, (-1, 0))
        fruitless = fruitless + 1 if here == before else 0
        self._waits[offer] = (here, fruitless)
        return fruitless < FRUITLESS_MAX

    def _here(self, offer: Offer) -> int:
        return sum(chunk.sha256 in self.weights.owned for chunk in offer.chunks)

    def _tell(self, offer: Offer, waited_s: float) -> None:
        if offer not in self._told:
            self._told.add(offer)
            here, all_of_them = self._here(offer), len(offer.chunks)
            self._failed(
                f"{offer.architecture} for {offer.rendition} is late: {here} of {all_of_them} chunks came "
                f"in the {waited_s:.1f} s that playback could spare; they are used until the rest comes"
            )

    def fetched(self) -> list[Download]:
        """The chunks that came since this was last asked."""
        fetched, self._fetched = self._fetched, []
        return fetched

    def stop(self) -> None:
        for task in self._coming.values():
            task.cancel()

    def _task(self, offer: Offer) -> asyncio.Task[bool]:
        task = self._coming.get(offer)
        if task is None or task.done():
            task = self._coming[offer] = asyncio.create_task(self.weights.acquire(offer, self._may))
        return task

    def _spare_s(self) -> float:
        return max(0.0, self._buffer_s() - RESERVE_S) if self._playout.started else STARTUP_PATIENCE_S

    def _buffer_s(self) -> float:
        return self._playout.buffer_s(self._clock.now_s())

    def _chunk_came(self, chunk: Chunk, reply: Reply) -> None:
        self._fetched.append(reply.timing)
        self._came(chunk, reply)

"""A transport that lets bytes through as a network trace does.

The bytes are real and come over a real socket; then they wait here until the trace would have delivered them: first the
latency, then pieces at the instants at which the link has carried them. Latencies of several requests overlap; bodies
share the link one after the other, in the order in which they begin. Instants are the network's own (as a kernel would
stamp them), so a busy event loop does not distort what the player learns of its throughput.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

from abr.core.control import Download
from abr.simulation.traces import Trace
from abr.virtual_time import SessionClock
from client_player.transport.growing import Arrivals, GrowingReply, Piece
from client_player.transport.http import HttpReply, Transport

PIECE_BYTES = 16 << 10
_AT_ONCE_S = 0.002
"""A piece that comes so soon was there before it was asked for."""


class ShapedTransport:
    """Slows `inner` down to `trace`, whose instant 0 is the session's.

    on_piece: called with the size of each piece as it arrives.
    """

    def __init__(
        self,
        inner: Transport,
        trace: Trace,
        clock: SessionClock,
        on_piece: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        self._inner, self._trace, self._clock, self._on_piece = inner, trace, clock, on_piece
        self._link = asyncio.Lock()
        self._free_s = 0.0

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> HttpReply:
        """See Transport."""
        started_s = self._clock.now_s()
        reply = await self._inner.get(url, headers=headers, max_bytes=max_bytes)
        latency_s = max(reply.timing.latency_s, self._trace.latency_at(started_s))
        await self._clock.sleep_until(started_s + latency_s)  # so that bodies queue in the order in which they begin
        async with self._link:
            first_s = max(started_s + latency_s, self._free_s)
            through_s = await self._let_through(first_s, reply.timing.size_bytes)
            finished_s = max(started_s + reply.timing.duration_s, through_s)
            self._free_s = finished_s
        timing = Download(
            started_s=started_s,
            latency_s=first_s - started_s,
            duration_s=finished_s - started_s,
            size_bytes=reply.timing.size_bytes,
        )
        return replace(reply, timing=timing)

    async def grow(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> GrowingReply:
        """See Transport. Each piece comes later by what the trace's latency is more than the network's own."""
        reply = await self._inner.grow(url, headers=headers, max_bytes=max_bytes)
        arrivals = reply.arrivals
        latency_s = max(arrivals.latency_s, self._trace.latency_at(arrivals.started_s))
        pieces = self._carried(reply.pieces, latency_s - arrivals.latency_s)
        return replace(reply, arrivals=Arrivals(started_s=arrivals.started_s, latency_s=latency_s), pieces=pieces)

    async def _carried(self, pieces: AsyncGenerator[Piece], later_s: float) -> AsyncGenerator[Piece]:
        async with aclosing(pieces):
            asked_s = -math.inf
            async for piece in pieces:
                has_waited = piece.came_s <= asked_s + _AT_ONCE_S  # for us, so its latency is over
                due_s = piece.came_s + (0.0 if has_waited else later_s)
                await self._clock.sleep_until(due_s)
                async with self._link:
                    began_s = max(due_s, self._free_s)
                    came_s = self._free_s = await self._let_through(began_s, len(piece.data))
                yield Piece(piece.data, began_s, came_s)
                asked_s = self._clock.now_s()

    async def _let_through(self, first_s: float, size_bytes: int) -> float:
        """Returns the instant of the last byte, when it has come."""
        through = 0
        instant_s = first_s
        while through < size_bytes:
            piece = min(PIECE_BYTES, size_bytes - through)
            through += piece
            instant_s = self._trace.finish_s(first_s, through)
            await self._clock.sleep_until(instant_s)
            self._on_piece(piece)
        return instant_s

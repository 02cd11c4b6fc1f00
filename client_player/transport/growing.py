"""Answers that come while they are made, such as the segment of a live stream that is under way.

The waits between its chunks are the encoder's, not the network's: `Arrivals` leaves them out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from abr.core.control import Download

HELD = "Server-Timing"
"""Tells in its metric `wait` for how long the server held the answer until there was something to send."""
_WAIT = re.compile(r"(?:^|,)\s*wait\s*;\s*dur=([0-9]{1,9}(?:\.[0-9]{1,9})?)", re.ASCII)
_AT_ONCE_S = 0.001
"""What a chunk counts for that came in one piece: less cannot be told."""
_MDAT, _HEAD_BYTES = b"mdat", 8


class Piece(NamedTuple):
    """Bytes that began to come at one moment and were there at another, in session seconds; one moment, if unknown."""

    data: bytes
    began_s: float
    came_s: float


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """How fast pieces came while they came. latency_s: to the answer, without what the server held it for."""

    started_s: float
    latency_s: float
    size_bytes: int = 0
    _chunks: int = 0
    _timed_bytes: int = 0
    _timed_s: float = 0.0
    _burst: tuple[float, float, int] | None = None
    """Since the last wait: when it began, when the last piece had come, and bytes of which the time is known."""

    def add(self, piece: Piece) -> None:
        """A piece has come."""
        self.size_bytes += len(piece.data)
        began_s, _, timed_bytes = self._burst or (piece.began_s, piece.began_s, 0)
        is_timed = piece.came_s > began_s  # of the first one, only its end may be known
        self._burst = began_s, piece.came_s, timed_bytes + (len(piece.data) if is_timed else 0)

    def catch_up(self) -> None:
        """All that there is has come: what follows is still to be made."""
        if self._burst is not None:
            began_s, ended_s, timed_bytes = self._burst
            self._timed_bytes += timed_bytes
            self._timed_s += ended_s - began_s
        self._chunks += 1
        self._burst = None

    def timing(self) -> Download:
        """What the whole of it would have taken, had it been there from the beginning."""
        took_s = self.size_bytes * self._timed_s / self._timed_bytes if self._timed_bytes else 0.0
        return Download(
            started_s=self.started_s,
            latency_s=self.latency_s,
            duration_s=self.latency_s + max(took_s, _AT_ONCE_S * self._chunks),
            size_bytes=self.size_bytes,
        )


@dataclass(slots=True, kw_only=True)
class GrowingReply:
    """An answer of which the head is there. headers, url: as of HttpReply."""

    url: str
    headers: Mapping[str, str]
    arrivals: Arrivals
    pieces: AsyncGenerator[Piece] = field(repr=False)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body in whole chunks (boxes up to an `mdat`), one or more at a time, as soon as they have come.

        What is left behind the last one comes at the end. Raises DownloadError when the answer breaks off.
        """
        rest = bytearray()
        try:
            async for piece in self.pieces:
                self.arrivals.add(piece)
                rest += piece.data
                end = end_of_chunks(rest)
                whole = bytes(rest[:end])
                del rest[:end]
                if not rest:
                    self.arrivals.catch_up()
                if whole:
                    yield whole
        finally:
            await self.pieces.aclose()
        if rest:
            self.arrivals.catch_up()
            yield bytes(rest)


def end_of_chunks(data: bytes | bytearray) -> int:
    """Where the last whole chunk ends, 0 without one: with its `mdat` (ISO/IEC 14496-12, 4.2), in boxes of 32 bits."""
    end = offset = 0
    while offset + _HEAD_BYTES <= len(data):
        box_bytes, kind = struct.unpack_from(">I4s", data, offset)
        if box_bytes < _HEAD_BYTES or offset + box_bytes > len(data):
            break
        offset += box_bytes
        if kind == _MDAT:
            end = offset
    return end


def held_s(headers: Mapping[str, str]) -> float:
    """How long the server held an answer until there was something to send, by what it says itself."""
    told = _WAIT.search(headers.get(HELD, ""))
    return float(told[1]) / 1000 if told else 0.0

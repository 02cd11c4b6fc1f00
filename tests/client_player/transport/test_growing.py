"""Answers that come while they are made: cut into chunks, and timed without the waits for who makes them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Mapping

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from served import listening

from abr.core.control import Download
from abr.simulation.traces import constant
from abr.virtual_time import SessionClock, run_virtual
from client_player.transport.growing import Arrivals, GrowingReply, Piece, end_of_chunks, held_s
from client_player.transport.http import DownloadError, HttpReply, HttpTransport, http_pool
from client_player.transport.trace_shaper import ShapedTransport

EVERY_S = 0.5


def chunk_of(size_bytes: int) -> bytes:
    """Of a moof and an mdat, so large together."""
    moof = struct.pack(">I4s", 100, b"moof") + bytes(92)
    return moof + struct.pack(">I4s", size_bytes - 100, b"mdat") + bytes(size_bytes - 108)


class Encoder:
    """A server that has a chunk each EVERY_S, behind a network that takes no time."""

    def __init__(self, clock: SessionClock, chunks: list[bytes]) -> None:
        self._clock, self._chunks = clock, chunks

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> HttpReply:
        raise NotImplementedError

    async def grow(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> GrowingReply:
        started_s = self._clock.now_s()
        await self._clock.sleep_until(started_s + EVERY_S)
        arrivals = Arrivals(started_s=started_s, latency_s=0.0)
        return GrowingReply(url=url, headers={}, arrivals=arrivals, pieces=self._pieces(started_s))

    async def _pieces(self, started_s: float) -> AsyncGenerator[Piece]:
        for number, chunk in enumerate(self._chunks, 1):
            await self._clock.sleep_until(started_s + number * EVERY_S)
            now_s = self._clock.now_s()
            for at in range(0, len(chunk), 9000):
                yield Piece(chunk[at : at + 9000], now_s, now_s)


def watched(chunks: list[bytes], bits_per_s: float) -> tuple[list[tuple[float, bytes]], Download]:
    """When each chunk had come over a link, and the timing that is told of all."""

    async def watch() -> tuple[list[tuple[float, bytes]], Download]:
        clock = SessionClock()
        transport = ShapedTransport(Encoder(clock, chunks), constant(bits_per_s, 0.05), clock)
        reply = await transport.grow("http://cam/", headers={}, max_bytes=1 << 20)
        came = [(clock.now_s(), chunk) async for chunk in reply.chunks()]
        return came, reply.arrivals.timing()

    return run_virtual(watch())


@given(st.lists(st.integers(200, 60_000), min_size=1, max_size=6), st.floats(1.2e6, 1e7))
def test_waits_for_the_encoder_are_not_the_networks(sizes: list[int], bits_per_s: float) -> None:
    """Each chunk has come before the next one is there."""
    chunks = list(map(chunk_of, sizes))
    came, timing = watched(chunks, bits_per_s)
    assert [chunk for _, chunk in came] == chunks
    expected_s = [EVERY_S * number + 0.05 + 8 * size / bits_per_s for number, size in enumerate(sizes, 1)]
    assert [at_s for at_s, _ in came] == pytest.approx(expected_s, abs=1e-6)
    assert timing.latency_s == pytest.approx(0.05) and timing.size_bytes == sum(sizes)
    assert timing.duration_s - timing.latency_s == pytest.approx(
        max(8 * sum(sizes) / bits_per_s, 0.001 * len(sizes)), abs=1e-6
    )


def test_on_a_link_that_is_too_slow_chunks_come_one_right_after_the_other():
    chunks = [chunk_of(50_000)] * 4
    came, timing = watched(chunks, 400_000)
    assert b"".join(chunk for _, chunk in came) == b"".join(chunks)
    assert came[-1][0] == pytest.approx(EVERY_S + 0.05 + 4.0)
    assert 8 * timing.size_bytes / (timing.duration_s - timing.latency_s) == pytest.approx(400_000, rel=0.01)


def test_what_came_in_one_piece_counts_as_little_as_can_be_told():
    arrivals = Arrivals(started_s=1.0, latency_s=0.02)
    for at_s in (1.5, 2.0):
        arrivals.add(Piece(b"x" * 1000, at_s, at_s))
        arrivals.catch_up()
    assert arrivals.timing() == Download(started_s=1.0, latency_s=0.02, duration_s=0.022, size_bytes=2000)


@given(st.binary(max_size=64))
def test_whatever_comes_is_cut_somewhere_within(data: bytes) -> None:
    assert 0 <= end_of_chunks(data) <= len(data)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("wait;dur=431.5", 0.4315),
        ('cache;desc="a, wait", wait; dur=20', 0.02),
        ("waits;dur=5", 0.0),
        ("wait;dur=x", 0.0),
        ("", 0.0),
    ],
)
def test_the_server_says_how_long_it_held_the_answer(told: str, seconds: float):
    assert held_s({"Server-Timing": told}) == pytest.approx(seconds)


def test_an_answer_that_breaks_off_or_is_too_long_is_an_error_that_says_so():
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(chunk_of(3000) + chunk_of(2000)[:500])
        if request.path == "/broken":
            assert request.transport is not None
            request.transport.close()
        return response

    async def chunks_of(path: str, max_bytes: int) -> list[int]:
        app = web.Application()
        app.router.add_get("/{what}", answer)
        came = []
        async with listening(app) as url, http_pool() as pool:
            transport = HttpTransport(pool, SessionClock())
            reply = await transport.grow(f"{url}{path}", headers={}, max_bytes=max_bytes)
            try:
                came += [len(chunk) async for chunk in reply.chunks()]
            except DownloadError as error:
                came.append(str(error))
        return came

    assert asyncio.run(chunks_of("whole", 1 << 20)) == [3000, 500], "what is left over comes last"
    assert "/broken failed" in asyncio.run(chunks_of("broken", 1 << 20))[-1]
    (said,) = asyncio.run(chunks_of("whole", 1000))
    assert "holds more than 1000 bytes" in said

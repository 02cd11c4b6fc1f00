"""The shaped transport follows its trace, with real bytes over a real socket and on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from served import listening
from viewers import FAST_MACHINE

from abr.simulation.traces import Trace, make
from abr.virtual_time import SessionClock, run_virtual
from client_player.transport.http import HttpReply, HttpTransport, http_pool
from client_player.transport.trace_shaper import ShapedTransport

TRACES = [
    make("steady", [(1.0, 2e6, 0.08)]),
    make("steps", [(3.0, 4e5, 0.1), (0.7, 6e6, 0.05), (2.0, 0.0, 0.2), (5.0, 1.3e6, 0.1)]),
    make("slow", [(10.0, 6e4, 0.5)]),
]


@dataclass
class Line:
    """What got through, and when."""

    arrived: list[tuple[float, int]] = field(default_factory=list)
    replies: list[HttpReply] = field(default_factory=list)

    def bytes_by(self, instant_s: float) -> int:
        return sum(size for at_s, size in self.arrived if at_s <= instant_s + 1e-6)


async def _blob(request: web.Request) -> web.Response:
    size = int(request.match_info["size"])
    return web.Response(body=bytes(index % 251 for index in range(size)))


async def _download(trace: Trace, sizes: list[int], at_once: bool = False) -> Line:
    app = web.Application()
    app.router.add_get("/{size}", _blob)
    line = Line()
    async with listening(app) as url, http_pool() as pool:
        await HttpTransport(pool, SessionClock()).get(f"{url}1", headers={}, max_bytes=10)  # opens the connection
        clock = SessionClock()
        link = ShapedTransport(
            HttpTransport(pool, clock), trace, clock, lambda size: line.arrived.append((clock.now_s(), size))
        )
        jobs = [link.get(f"{url}{size}", headers={}, max_bytes=1 << 24) for size in sizes]
        line.replies = list(await asyncio.gather(*jobs)) if at_once else [await job for job in jobs]
    return line


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_bytes_come_when_the_trace_lets_them(trace: Trace) -> None:
    size = 400_000
    line = run_virtual(_download(trace, [size]), wall_rate=FAST_MACHINE)
    (reply,) = line.replies
    assert len(reply.body) == size == sum(piece for _, piece in line.arrived)
    first_s = reply.timing.started_s + reply.timing.latency_s
    assert trace.latency_at(0.0) <= reply.timing.latency_s < trace.latency_at(0.0) + 1.0, "never sooner"
    assert first_s + 0.001 < line.arrived[0][0], "no byte may come before the first byte's instant"
    for at_s, _ in line.arrived:
        allowed = trace.bytes_between(first_s, at_s)
        assert line.bytes_by(at_s) == pytest.approx(allowed, rel=0.003, abs=0.003 * size)
    end_s = trace.finish_s(first_s, size)
    assert reply.timing.duration_s == pytest.approx(end_s - reply.timing.started_s, rel=1e-6)


def test_requests_at_once_share_the_link() -> None:
    trace = TRACES[0]
    sizes = [100_000, 250_000, 50_000]
    line = run_virtual(_download(trace, sizes, at_once=True), wall_rate=FAST_MACHINE)
    end_s = max(reply.timing.started_s + reply.timing.duration_s for reply in line.replies)
    assert end_s == pytest.approx(trace.fetch_s(0.0, sum(sizes)), rel=0.01, abs=0.2)


def test_virtual_time_is_not_the_walls() -> None:
    """Nearly a minute of network, the same every time. On the wall's clock it would take a hundred minutes."""
    lines = [run_virtual(_download(TRACES[2], [400_000]), wall_rate=FAST_MACHINE) for _ in range(2)]
    durations = [line.replies[0].timing.duration_s for line in lines]
    assert durations[0] > 50 and durations[0] == pytest.approx(durations[1], abs=0.2)

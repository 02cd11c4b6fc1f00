"""A real edge node in the running loop, before a real origin, and viewers who fetch from it as stock players do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from film import own_device

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.simulation.traces import Trace
from client_player.edge.assembly import KWH_PER_GB_MAX, EdgeRequest
from client_player.edge.lifts.lifting import LiftedSegment, Lifter, LiftJob
from client_player.edge.run import edge_node
from client_player.source.mpd import Presentation, loads_mpd

EAGER = f"{Path(__file__).parents[1] / 'viewers' / 'eager.py'}:Eager"
"""The controller that always takes the best of the lowest rung."""


_LIFTER = Lifter()
_LIFTED: dict[tuple[str, int, bytes], LiftedSegment] = {}
"""What was lifted in this run of the tests. The same job gives the same bytes, and costs seconds."""


def lift(job: LiftJob) -> LiftedSegment:
    """Really lifts, unless an earlier test had the same done."""
    key = job.offer.weights_sha256, job.segment, job.data
    if key not in _LIFTED:
        _LIFTED[key] = _LIFTER.lift(job)
    return _LIFTED[key]


@dataclass
class Lifters:
    """Really lifts, in a thread of this process, once `may` is set. jobs: what was asked for."""

    at_once: int = 1
    jobs: list[LiftJob] = field(default_factory=list)
    may: asyncio.Event = field(default_factory=asyncio.Event)

    async def lift(self, job: LiftJob) -> LiftedSegment:
        self.jobs.append(job)
        await self.may.wait()
        return await asyncio.to_thread(lift, job)


@dataclass(frozen=True)
class Edge:
    """A running node. `url` ends with a slash."""

    url: str
    lifters: Lifters

    async def get(self, path: str, **headers: str) -> Answer:
        async with aiohttp.ClientSession() as pool:
            return await fetch(pool, f"{self.url}{path}", **headers)

    async def metric(self, name: str) -> float:
        """The sum of the samples that begin with `name`: a metric, and labels as far as they are given."""
        lines = (await self.get("metrics")).body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def fetch(pool: aiohttp.ClientSession, url: str, **headers: str) -> Answer:
    """Nobody works meanwhile, in virtual time: who waits for a lift that does not come need not sit it out."""
    async with pool.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer:
        return Answer(answer.status, answer.headers.copy(), await answer.read())


@asynccontextmanager
async def edge(
    origin: str,
    cache: Path,
    *,
    profile: DeviceProfile | None = None,
    families: Sequence[Family] = tuple(Family),
    backhaul: Trace | None = None,
    controller: str = EAGER,
    cache_bytes_max: int = 1 << 30,
    held: bool = False,
    kwh_per_gb_max: float = KWH_PER_GB_MAX,
) -> AsyncIterator[Edge]:
    """A node with a cache in `cache`. held: nothing is lifted until its lifters may."""
    lifters = Lifters()
    if not held:
        lifters.may.set()
    request = EdgeRequest(
        origin=origin,
        cache=cache,
        cache_bytes_max=cache_bytes_max,
        profile=profile or own_device(),
        families=families,
        lifters=1,
        controller=controller,
        backhaul=backhaul,
        kwh_per_gb_max=kwh_per_gb_max,
    )
    async with edge_node(request, lifters) as url:
        yield Edge(url, lifters)


@dataclass
class StockViewer:
    """Fetches a title as a stock player does: one segment after the other, while its buffer has room."""

    edge: Edge
    title: str
    name: str = "player"
    buffer_max_s: float = 12.0
    start_s: float = 4.0
    stalled_s: float = 0.0
    init: bytes = b""
    segments: list[Answer] = field(default_factory=list)

    @property
    def enhancers(self) -> list[str]:
        return [answer.headers.get("Toprung-Enhancer", "") for answer in self.segments]

    @property
    def bodies(self) -> list[bytes]:
        return [answer.body for answer in self.segments]

    @property
    def film(self) -> bytes:
        return self.init + b"".join(self.bodies)

    async def play(self) -> StockViewer:
        """To the end. Fails for any answer but 200."""
        loop, agent = asyncio.get_running_loop(), {"User_Agent": self.name}
        async with aiohttp.ClientSession() as pool:
            url = f"{self.edge.url}titles/{self.title}/manifest.mpd"
            presentation = loads_mpd((await fetch(pool, url, **agent)).body, url)
            (video,) = presentation.video
            self.init = (await fetch(pool, video.init_url, **agent)).body
            buffer_s, at_s, playing = 0.0, loop.time(), False
            for number, span in enumerate(video.segments):
                if buffer_s > self.buffer_max_s - span.duration_s:
                    await asyncio.sleep(buffer_s - (self.buffer_max_s - span.duration_s))
                answer = await fetch(pool, span.url, **agent)
                assert answer.status == 200, answer
                self.segments.append(answer)
                await self._fetch_sound(pool, presentation, number)
                passed_s, at_s = loop.time() - at_s, loop.time()
                if playing:
                    self.stalled_s += max(0.0, passed_s - buffer_s)
                    buffer_s = max(0.0, buffer_s - passed_s)
                buffer_s += span.duration_s
                playing = playing or buffer_s >= self.start_s
        return self

    async def _fetch_sound(self, pool: aiohttp.ClientSession, presentation: Presentation, number: int) -> None:
        for track in presentation.audio[:1]:
            if number < len(track.segments):
                assert (await fetch(pool, track.segments[number].url)).status == 200

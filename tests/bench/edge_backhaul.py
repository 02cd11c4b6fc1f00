"""Viewers behind one thin line: through an edge node, and through nginx as a caching proxy, over the same line.

    python tests/bench/edge_backhaul.py LIBRARY --source TITLE=FILE... [--kbps 800] [--trace FILE] [--viewers 12]

A real origin, a real link emulator, and a real node or nginx before it; viewers fetch over real sockets in real time
and begin one after the other, each watching a whole title. Those behind nginx choose renditions by dash.js's default
rule (Dynamic, as abr.controllers has it) from the origin's manifest; the node's manifest leaves nothing to choose.
What they got is decoded afterwards, upscaled as a player does, and measured against the source. Trusted quality: of a
lifted segment, less what the title's table does not trust of its VMAF. Line bytes are those that the origin sent.
What lifting took and saved is told by the node itself: its metrics, and the energy's source.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import aiohttp
import click
from rich.console import Console
from rich.table import Table
from seen_segments import score_all

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from nginx import nginx
from serve_process import counted, served

from abr.controllers import HORIZON, make_controller
from abr.controllers.guard import decide
from abr.core.control import DOWNLOADS_MAX, Download, Observation
from abr.core.enhancement import ENHANCEMENTS_FILE, PLAIN, EnhancementTable
from abr.core.options import Choice
from abr.core.playback import Playback
from abr.core.pricing import price
from abr.core.title import Title, load_title
from abr.records import Record, dumps, load
from abr.simulation.trace_formats import read_trace
from abr.simulation.traces import Trace, constant
from client_player.emulate.proxy import emulating
from client_player.source.mpd import Presentation, loads_mpd

LATENCY_S = 0.08
EDGE, NGINX = "edge node", "nginx, dash.js' rule"
BUFFER_MAX_S = 18.0
"""dash.js keeps this much."""
_CONFIG = """
pid /tmp/nginx.pid; error_log /tmp/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; proxy_cache_path /tmp/cache keys_zone=films:10m max_size=10g inactive=1d;
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server {{
        listen 8080;
        location / {{
            proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_cache films; proxy_cache_lock on; proxy_cache_lock_timeout 120s; proxy_cache_lock_age 120s;
        }}
    }}
}}
"""


@dataclass
class Segment:
    """One that a viewer got: with its init segment, and what it is."""

    data: bytes = field(repr=False)
    rendition: str
    enhancer: str


@dataclass
class Viewer:
    """Fetches one title as a stock player does, without decoding it."""

    title: Title
    base_url: str
    name: str
    chooses: bool
    got: list[Segment] = field(default_factory=list)
    playback: Playback = field(default_factory=lambda: Playback(buffer_max_s=BUFFER_MAX_S, start_s=2.0))

    async def watch(self) -> None:
        """The whole title."""
        self._loop = asyncio.get_running_loop()
        self._prices, self._controller = price(self.title), make_controller("dynamic")
        self._inits: dict[str, bytes] = {}
        self._downloads: list[Download] = []
        self._last: Choice | None = None
        self._memory: tuple[float, ...] = ()
        self._began_s = self._passed_s = self._loop.time()
        headers = {"User-Agent": self.name}
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as pool:
            url = f"{self.base_url}titles/{self.title.id}/manifest.mpd"
            body, _, _ = await self._get(pool, url)
            shown = loads_mpd(body, url)
            for number, duration_s in enumerate(self.title.segment_duration_s):
                await asyncio.sleep(self.playback.room_wait_s(duration_s))
                self._advance()
                await self._fetch(pool, shown, number)
                self._advance()
                self.playback.add(duration_s)

    async def _fetch(self, pool: aiohttp.ClientSession, shown: Presentation, number: int) -> None:
        track = shown.video[self._choose(number) if self.chooses else 0]
        if track.init_url not in self._inits:
            self._inits[track.init_url], _, _ = await self._get(pool, track.init_url)
        body, headers, download = await self._get(pool, track.segments[number].url)
        self._downloads.append(download)
        if shown.audio and number < len(shown.audio[0].segments):
            await self._get(pool, shown.audio[0].segments[number].url)
        data = self._inits[track.init_url] + body
        rendition = headers.get("Toprung-Rendition", track.id)
        self.got.append(Segment(data, rendition, headers.get("Toprung-Enhancer", PLAIN)))

    def _choose(self, number: int) -> int:
        menu = self._prices.menu(number, HORIZON)
        seen = Observation(
            now_s=self._loop.time() - self._began_s,
            menu=menu,
            buffer_s=self.playback.buffer_s,
            buffer_max_s=BUFFER_MAX_S,
            playing=self.playback.playing,
            downloads=tuple(self._downloads[-DOWNLOADS_MAX:]),
            last=self._last,
            memory=self._memory,
        )
        decision = decide(self._controller, seen)
        self._last, self._memory = menu.choices[decision.option], decision.memory
        return self._last.rendition

    async def _get(self, pool: aiohttp.ClientSession, url: str) -> tuple[bytes, dict[str, str], Download]:
        asked_s = self._loop.time()
        async with pool.get(url) as answer:
            answer.raise_for_status()
            first_s = self._loop.time()
            body = await answer.read()
        timing = Download(
            started_s=asked_s - self._began_s,
            latency_s=first_s - asked_s,
            duration_s=self._loop.time() - asked_s,
            size_bytes=len(body),
        )
        return body, dict(answer.headers), timing

    def _advance(self) -> None:
        now_s = self._loop.time()
        self.playback.advance(now_s - self._passed_s)
        self._passed_s = now_s


class Outcome(Record, frozen=True):
    """What the viewers of one run saw, in the mean. lifted: share of their segments. load: of the machine, a minute.

    lift_*: of all lifts, whose segments have lift_media_s; saved_mb: what the ladder would have taken more.
    """

    line: str
    way: str
    vmaf: float
    vmaf_neg: float
    trusted: float
    lifted: float
    stall_s: float
    startup_s: float
    line_mb: float
    lift_media_s: float
    lift_cpu_s: float
    lift_energy_kj: float
    saved_mb: float
    load: float


class Lifting(NamedTuple):
    """What a node tells of its lifts."""

    media_s: float = 0.0
    cpu_s: float = 0.0
    energy_j: float = 0.0
    saved_bytes: float = 0.0

    @classmethod
    def told_by(cls, url: str) -> Lifting:
        names = ("lifted_media_seconds", "lift_cpu_seconds", "lift_energy_joules", "saved_bytes")
        return cls(*(counted(url, f"toprung_edge_{name}_total") for name in names))


@dataclass(frozen=True)
class Run:
    """The viewers of one run, when all have done, and what the line carried."""

    line: str
    way: str
    viewers: Sequence[Viewer]
    line_bytes: float
    lifting: Lifting
    load: float


@contextmanager
def edge_before(upstream: str, folder: Path) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "abr",
        "edge",
        "--origin",
        upstream,
        "--cache",
        str(folder / "kept"),
        "--port",
        "0",
    ]
    with subprocess.Popen([*command, "--log-level", "warning"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@asynccontextmanager
async def between(way: str, upstream: str, folder: Path) -> AsyncIterator[str]:
    """What stands between the line and the viewers."""
    if way == NGINX:
        with nginx(_CONFIG.format(upstream=upstream.rstrip("/")), folder) as url:
            yield url
    else:
        started = edge_before(upstream, folder)
        url = await asyncio.to_thread(started.__enter__)
        try:
            yield url
        finally:
            started.__exit__(None, None, None)


async def run(line: Trace, way: str, library: Path, titles: Sequence[Title], viewers: int, apart_s: float) -> Run:
    """All viewers, from the first that begins to the last that ends."""
    with served("--library", str(library)) as origin, tempfile.TemporaryDirectory() as folder:
        async with emulating(line, origin) as link, between(way, link.url, Path(folder)) as url:
            audience = [
                Viewer(titles[number % len(titles)], url, f"viewer {number}", chooses=way == NGINX)
                for number in range(viewers)
            ]

            async def begin(number: int, viewer: Viewer) -> None:
                await asyncio.sleep(number * apart_s)
                await viewer.watch()

            await asyncio.gather(*(begin(number, viewer) for number, viewer in enumerate(audience)))
            load, *_ = os.getloadavg()
            lifting = Lifting() if way == NGINX else await asyncio.to_thread(Lifting.told_by, url)
            sent = await asyncio.to_thread(counted, origin, "toprung_http_response_bytes")
            return Run(line.name, way, audience, sent, lifting, load)


def judge(runs: Sequence[Run], library: Path, sources: dict[str, Path]) -> Iterator[Outcome]:
    """Measures each distinct segment once."""
    scores: dict[str, list[dict[bytes, tuple[float, float]]]] = {}
    for title_id, source in sources.items():
        title = load_title(library / title_id)
        found: list[dict[bytes, None]] = [{} for _ in title.segment_frames]
        for viewer in (each for one in runs for each in one.viewers if each.title.id == title_id):
            for number, segment in enumerate(viewer.got):
                found[number].setdefault(segment.data)
        if all(found):
            scores[title_id] = score_all(title, source, [list(each) for each in found])
    tables = {each: load(library / each / ENHANCEMENTS_FILE, EnhancementTable) for each in sources}
    for one in runs:
        yield _outcome(one, scores, tables)


def _outcome(
    one: Run, scores: dict[str, list[dict[bytes, tuple[float, float]]]], tables: dict[str, EnhancementTable]
) -> Outcome:
    vmaf, negs, trusted, lifted = [], [], [], []
    for viewer in one.viewers:
        for number, segment in enumerate(viewer.got):
            points, neg = scores[viewer.title.id][number][segment.data]
            vmaf.append(points)
            negs.append(neg)
            lifted.append(segment.enhancer != PLAIN)
            trusted.append(points - _untrusted(tables[viewer.title.id], segment, number))
    return Outcome(
        line=one.line,
        way=one.way,
        vmaf=round(fmean(vmaf), 2),
        vmaf_neg=round(fmean(negs), 2),
        trusted=round(fmean(trusted), 2),
        lifted=round(fmean(lifted), 3),
        stall_s=round(fmean(viewer.playback.stall_s for viewer in one.viewers), 2),
        startup_s=round(fmean(viewer.playback.startup_s for viewer in one.viewers), 2),
        line_mb=round(one.line_bytes / 1e6, 3),
        lift_media_s=round(one.lifting.media_s, 1),
        lift_cpu_s=round(one.lifting.cpu_s, 1),
        lift_energy_kj=round(one.lifting.energy_j / 1e3, 2),
        saved_mb=round(one.lifting.saved_bytes / 1e6, 3),
        load=round(one.load, 1),
    )


def _untrusted(table: EnhancementTable, segment: Segment, number: int) -> float:
    if segment.enhancer == PLAIN:
        return 0.0
    offers = {(name, offer.rendition): offer for name, offer in table.named_offers()}
    quality = offers[segment.enhancer, segment.rendition].quality
    return quality.vmaf[number] - quality.trusted[number] if quality.trusted else 0.0


@click.command(context_settings={"show_default": True})
@click.argument("library", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--source", "sources", multiple=True, required=True, metavar="TITLE=FILE", help="Of each title watched.")
@click.option("--kbps", multiple=True, type=float, help="A constant line; repeatable.")
@click.option("--trace", "traces", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--viewers", type=click.IntRange(1, 1000), default=12)
@click.option("--apart-s", type=click.FloatRange(0), default=3.0, help="Between the beginnings of two viewers.")
@click.option("--only", type=click.Choice(["edge", "nginx"]), help="One way alone.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(
    library: Path,
    sources: tuple[str, ...],
    kbps: tuple[float, ...],
    traces: tuple[Path, ...],
    viewers: int,
    apart_s: float,
    only: str | None,
    as_json: bool,
) -> None:
    """Compare what viewers see behind a node and behind nginx."""
    named = {title: Path(file) for title, _, file in (each.partition("=") for each in sources)}
    titles = [load_title(library / title) for title in named]
    lines = [constant(rate * 1000, LATENCY_S, f"{rate:g} kbit/s") for rate in kbps]
    lines += [read_trace(path) for path in traces]
    ways = [way for way, name in ((EDGE, "edge"), (NGINX, "nginx")) if only in (None, name)]
    runs = []
    for line in lines:
        for way in ways:
            runs.append(asyncio.run(run(line, way, library, titles, viewers, apart_s)))
            click.echo(f"{line.name}, {way}: watched", err=True)
    table = Table(*Outcome.__struct_fields__, title=f"{viewers} viewers of {len(titles)} titles")
    for outcome in judge(runs, library, named):
        if as_json:
            click.echo(dumps(outcome))
        table.add_row(*(str(getattr(outcome, name)) for name in Outcome.__struct_fields__))
    if not as_json:
        Console(width=200).print(table)


if __name__ == "__main__":
    main()

"""From what was asked for to what was seen: opens a session, plays it, measures it, writes its files.

In `out`: session.jsonl (the log), summary.json, report.html, the before/after pair as PNG, and what the report can be
made from again: title.json, enhancements.json, seen.json (measured quality of each segment) and trace.json.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from abr.clock import SessionClock, VirtualTimeLoop
from abr.device import DeviceProfile, Measurement
from abr.enhancement import EnhancementTable, Family, Offer
from abr.errors import StorageError, ToprungError
from abr.events import AnyEvent, Ended, Failed, Started
from abr.formats import dumps, dumps_pretty
from abr.media import Quality, Rendition, Title
from abr.traces import Trace
from client_player.archive import LOG_FILE, SEEN_FILE, SUMMARY_FILE
from client_player.download import HttpTransport, Reply, Transport, check_url, http_pool
from client_player.driven import SessionWish, open_session
from client_player.folder import clear, title_files, write
from client_player.guide import Ears, Guide
from client_player.local import LocalWish, open_local
from client_player.lookup import find_manifest, find_title
from client_player.measure import digest, measure
from client_player.player import Player, Setup
from client_player.report import REPORT_FILE, Material, write_report
from client_player.shaper import ShapedTransport
from client_player.sink import RawSink, Sink, open_sink
from client_player.summary import Summary, summarise
from client_player.telemetry import SessionLog, downloaded
from client_player.toolbox import Opener
from enhancers.base import Enhancer

_LUMA_FILE = "shown.y"
_CONTROLLER = "toprung"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a viewer asks for. trace None plays over the network as it is; profile None plays plainly."""

    url: str
    title: str = ""
    trace: Trace | None = None
    profile: DeviceProfile | None = None
    families: Sequence[Family] = tuple(Family)
    controller: str = ""
    buffer_max_s: float = 30.0
    virtual_time: bool = True
    local: bool = False
    """Decide in the player, by the standard manifest, instead of in a server's session."""
    sink: str = "null"
    every: int = 1
    source: Path | None = None
    out: Path | None = None
    silence_max_s: float = 15.0
    """A server that says nothing for this long has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. seen: measured quality of each shown segment, with a source to compare with."""

    summary: Summary
    events: Sequence[AnyEvent]
    title: Title
    table: EnhancementTable | None
    seen: Quality | None


def play(
    wish: Wish,
    *,
    listener: Callable[[AnyEvent], None] = lambda _event: None,
    on_bytes: Callable[[int], None] = lambda _bytes: None,
    on_measured: Callable[[int], None] = lambda _frames: None,
) -> Outcome:
    """Play a whole session. Raises InputError, DownloadError, FormatError, StorageError; files are written before."""
    check_url(wish.url)
    with ExitStack() as stack:
        try:
            if wish.out is not None:
                wish.out.mkdir(parents=True, exist_ok=True)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toprung-", dir=wish.out)))
        except OSError as error:
            raise StorageError(f"Cannot write to {wish.out or 'the temporary folder'}: {error.strerror}.") from error
        loop_factory = VirtualTimeLoop if wish.virtual_time else asyncio.SelectorEventLoop
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            played = runner.run(watch(wish, folder / _LUMA_FILE, listener=listener, on_bytes=on_bytes))
        return finish(wish, played, folder / _LUMA_FILE, on_measured=on_measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What is known when the last frame has been shown."""

    events: Sequence[AnyEvent]
    title: Title
    table: EnhancementTable | None
    sound_apart_s: float


def open_offer(
    offer: Offer, rendition: Rendition, title: Title, measured: Measurement, chunks: Sequence[bytes]
) -> Enhancer:
    """Open an enhancer with the backend and threads that the profile found fastest."""
    from enhancers.runtime import open_enhancer  # brings its backends along

    return open_enhancer(
        offer,
        chunks,
        size_px=(rendition.width_px, rendition.height_px),
        display_px=(title.display_width_px, title.display_height_px),
        backend=measured.backend,
        threads=measured.threads,
    )


async def watch(
    wish: Wish,
    luma: Path,
    *,
    listener: Callable[[AnyEvent], None] = lambda _event: None,
    on_bytes: Callable[[int], None] = lambda _bytes: None,
    opener: Opener = open_offer,
) -> Played:
    """Play on the running loop. With a source to compare with, the shown luma is written to `luma`."""
    clock = SessionClock()
    source_sha256 = await asyncio.to_thread(digest, wish.source) if wish.source else ""
    if wish.out is not None:
        clear(wish.out)
    log = SessionLog(wish.out / LOG_FILE if wish.out else None, listener)
    try:
        async with http_pool(idle_s=wish.silence_max_s) as pool:
            plain = HttpTransport(pool, clock)
            transport = ShapedTransport(plain, wish.trace, clock, on_bytes) if wish.trace else plain
            guide = await _guide(wish, pool, plain, transport, clock, log)
            sound_apart_s = await _through(wish, guide, transport, clock, log, luma, opener, source_sha256)
            await log.post_all(guide.post)
            log.replace_decisions(list(await guide.close()))
    except ToprungError as error:
        if not log.ended:
            log.tell(Ended(t_s=clock.now_s(), reason=str(error)[:1024], played_s=0.0))
        raise
    finally:
        log.close()
    return Played(events=log.events, title=guide.title, table=guide.table, sound_apart_s=sound_apart_s)


async def _guide(
    wish: Wish,
    pool: aiohttp.ClientSession,
    plain: Transport,
    transport: Transport,
    clock: SessionClock,
    log: SessionLog,
) -> Guide:
    """Who leads: a session of the server, or the player itself. The session's time begins here."""

    ears = _ears(clock, log)
    if wish.local:
        manifest_url = await find_manifest(wish.url, wish.title, plain)
        clock.start()
        local = await open_local(_local_wish(wish, manifest_url), transport=transport, ears=ears)
        log.tell(_started(wish, local.title.id, "local"))
        return local
    base_url, title_id = await find_title(wish.url, wish.title, plain)
    asked = _session_wish(wish, title_id)
    driven = await open_session(base_url, asked, pool=pool, transport=transport, ears=ears)
    clock.start()
    log.tell(_started(wish, title_id, driven.session_id))
    await driven.load()
    return driven


def _ears(clock: SessionClock, log: SessionLog) -> Ears:
    def came(kind: str, reply: Reply) -> None:
        log.tell(downloaded(kind, reply.timing, name=urlsplit(reply.url).path[-128:]))

    def failed(detail: str) -> None:
        log.tell(Failed(t_s=clock.now_s(), what="download", detail=detail[:1024]))

    return Ears(came=came, failed=failed)


async def _through(
    wish: Wish,
    guide: Guide,
    transport: Transport,
    clock: SessionClock,
    log: SessionLog,
    luma: Path,
    opener: Opener,
    source_sha256: str,
) -> float:
    """Play to the end; returns by how much sound and picture were apart."""
    if wish.source is not None and source_sha256 != guide.title.source.sha256:
        detail = f"{wish.source.name} is not the file that {guide.title.id} was made from; measured quality may mislead"
        log.tell(Failed(t_s=clock.now_s(), what="source", detail=detail))
    if wish.out is not None:  # now, so that a session that breaks can be reported too
        await asyncio.to_thread(write, wish.out, title_files(guide.title, guide.table, wish.trace))
    with ExitStack() as stack:
        setup = Setup(
            profile=wish.profile,
            families=wish.families,
            buffer_max_s=wish.buffer_max_s,
            opener=opener,
            sinks=_sinks(wish, guide.title, luma, stack),
        )
        player = Player(guide, setup, transport=transport, clock=clock, log=log)
        await player.play()
        if wish.out is not None:
            await player.write_pair(wish.out)
    return player.sound_apart_s


def _session_wish(wish: Wish, title_id: str) -> SessionWish:
    return SessionWish(
        title=title_id,
        profile=wish.profile,
        controller=wish.controller,
        families=wish.families,
        buffer_max_s=wish.buffer_max_s,
    )


def _local_wish(wish: Wish, manifest_url: str) -> LocalWish:
    return LocalWish(
        manifest_url=manifest_url,
        controller=wish.controller or _CONTROLLER,
        profile=wish.profile,
        families=wish.families,
    )


def _started(wish: Wish, title_id: str, session_id: str) -> Started:
    return Started(
        t_s=0.0,
        session=session_id[:128],
        title=title_id[:128],
        controller=(wish.controller or _CONTROLLER)[:128],
        device=(wish.profile.device.name if wish.profile else "")[:128],
        network=(wish.trace.name if wish.trace else "")[:128],
        software=f"toprung {version('toprung')}",
    )


def _sinks(wish: Wish, title: Title, luma: Path, stack: ExitStack) -> list[Sink]:
    sinks: list[Sink] = []
    asked = open_sink(wish.sink, frame_rate=Fraction(*title.frame_rate), every=wish.every)
    if asked is not None:
        sinks.append(asked)
    if wish.source is not None:
        sinks.append(RawSink(luma, frame_rate=None))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks


def finish(
    wish: Wish, played: Played, luma: Path, *, on_measured: Callable[[int], None] = lambda _frames: None
) -> Outcome:
    """Measure what was seen, if there is a source, and write the session's files."""
    seen = measure(luma, wish.source, played.title, advance=on_measured) if wish.source else None
    summary = summarise(played.events, played.title, seen, played.sound_apart_s)
    if wish.out is not None:
        write(wish.out, {SUMMARY_FILE: dumps_pretty(summary)} | ({SEEN_FILE: dumps(seen)} if seen else {}))
        write_report(
            Material(
                events=played.events,
                title=played.title,
                summary=summary,
                table=played.table,
                seen=seen,
                trace=wish.trace,
                pair_folder=wish.out,
            ),
            wish.out / REPORT_FILE,
        )
    return Outcome(summary=summary, events=played.events, title=played.title, table=played.table, seen=seen)

"""From what was asked for to what was seen: opens a session, plays it, measures it, writes its files.

In `out`: session.jsonl (the log), summary.json, report.html, the before/after pair as PNG, and what the report can be
made from again: title.json, enhancements.json, seen.json (measured quality of each segment) and trace.json.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from abr.clock import SessionClock, VirtualTimeLoop
from abr.device import Measurement
from abr.enhancement import EnhancementTable, Offer
from abr.errors import StorageError, ToprungError
from abr.events import AnyEvent, Ended, Failed
from abr.formats import dumps, dumps_pretty
from abr.media import Quality, Rendition, Title
from client_player import setbacks
from client_player.archive import LOG_FILE, SEEN_FILE, SUMMARY_FILE
from client_player.download import HttpTransport, Reply, Transport, check_url, http_pool
from client_player.driven import open_session
from client_player.folder import clear, title_files, write
from client_player.guide import Ears, Guide
from client_player.local import open_local
from client_player.lookup import find_manifest, find_title
from client_player.measure import digest, measure
from client_player.player import STOPPED, Player, Setup
from client_player.report import REPORT_FILE, Material, write_report
from client_player.shaper import ShapedTransport
from client_player.summary import Summary, summarise
from client_player.telemetry import SessionLog, downloaded
from client_player.toolbox import Opener
from client_player.wish import Wish, local_wish, session_wish, sinks, started
from enhancers.base import Enhancer

_LUMA_FILE = "shown.y"
LAST_WORDS_S = 5.0


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
    """Play a whole session. Raises InputError, DownloadError, FormatError, StorageError; files are written before.

    An interrupt (SIGINT) stops the playing; what came of it until then is summed up and written as usual.
    """
    check_url(wish.url)
    known = setbacks.read(wish.setbacks) if wish.setbacks else setbacks.Setbacks()
    if wish.profile is not None:
        wish = replace(wish, profile=setbacks.wiser(wish.profile, known, time.time()))
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
        if wish.setbacks and wish.profile and played.failed_s:
            setbacks.write(wish.setbacks, setbacks.learned(known, wish.profile, played.failed_s, time.time()))
        return finish(wish, played, folder / _LUMA_FILE, on_measured=on_measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What is known when the last frame has been shown. failed_s: as in Player."""

    events: Sequence[AnyEvent]
    title: Title
    table: EnhancementTable | None
    sound_apart_s: float
    failed_s: Mapping[str, float] = field(default_factory=dict)


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
    """Play on the running loop. With a source to compare with, the shown luma is written to `luma`.

    When this task is cancelled while playing, the session ends as `stopped` and what was played is returned.
    """
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
            player = await _through(wish, guide, transport, clock, log, luma, opener, source_sha256)
            await _last_words(guide, log)
    except ToprungError as error:
        if not log.ended:
            log.tell(Ended(t_s=clock.now_s(), reason=str(error)[:1024], played_s=0.0))
        raise
    finally:
        log.close()
    return Played(
        events=log.events,
        title=guide.title,
        table=guide.table,
        sound_apart_s=player.sound_apart_s,
        failed_s=player.failed_s,
    )


async def _last_words(guide: Guide, log: SessionLog) -> None:
    """Tell the server what it has not heard yet, and take over its own word on the decisions."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_S):
            await log.post_all(guide.post)
            log.replace_decisions(list(await guide.close()))


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
        local = await open_local(local_wish(wish, manifest_url), transport=transport, ears=ears)
        log.tell(started(wish, local.title.id, "local"))
        return local
    base_url, title_id = await find_title(wish.url, wish.title, plain)
    asked = session_wish(wish, title_id)
    driven = await open_session(base_url, asked, pool=pool, transport=transport, ears=ears)
    clock.start()
    log.tell(started(wish, title_id, driven.session_id))
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
) -> Player:
    """Play to the end, or until this task is cancelled; returns the player, which has ended."""
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
            sinks=sinks(wish, guide.title, luma, stack),
        )
        player = Player(guide, setup, transport=transport, clock=clock, log=log)
        if await _to_the_end(player) and wish.out is not None:
            await player.write_pair(wish.out)
    return player


async def _to_the_end(player: Player) -> bool:
    """False when somebody pressed Ctrl-C: the session is over, and there is still a summary to write."""
    try:
        await player.play()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.uncancel() > 0:
            raise
        return False
    return True


def finish(
    wish: Wish, played: Played, luma: Path, *, on_measured: Callable[[int], None] = lambda _frames: None
) -> Outcome:
    """Measure what was seen, if there is a source and nobody is in a hurry to stop; write the session's files."""
    stopped = any(isinstance(event, Ended) and event.reason == STOPPED for event in played.events[-4:])
    measuring = wish.source is not None and not stopped
    seen = measure(luma, wish.source, played.title, advance=on_measured) if measuring and wish.source else None
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

"""Runs one session from request to report: opens it, plays it, measures the quality shown, writes its files.

In `out`: session.jsonl (the log), summary.json, report.html, the before/after pair as PNG, and what the report can be
made from again: title.json, enhancements.json, seen.json (measured quality of each segment) and trace.json.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from abr.core.device import Measurement
from abr.core.enhancement import EnhancementTable, Offer
from abr.core.events import AnyEvent, Decided, Ended, Failed, Learnt, Shown
from abr.core.live.learning import LiveLearning
from abr.core.title import Quality, Rendition, Title
from abr.errors import InputError, StorageError, ToprungError
from abr.files import file_sha256
from abr.opinions.scales import CountedQuality
from abr.private_telemetry.tally import SessionTally
from abr.records import dumps, dumps_pretty
from abr.virtual_time import SessionClock, VirtualTimeLoop
from client_player.playback import slow_enhancers
from client_player.playback.enhancer_pool import Opener
from client_player.playback.player import STOPPED, Player, PlayerSetup
from client_player.private.reporter import PrivateReporter
from client_player.session.archive import LOG_FILE, SEEN_FILE, SUMMARY_FILE
from client_player.session.device_speeds import keep_speeds, profile_seen
from client_player.session.files import clear_session_files, dump_title_files, write_files
from client_player.session.keeping import CameKeeper
from client_player.session.report import REPORT_FILE, ReportData, write_report
from client_player.session.request import (
    PlayRequest,
    key_for,
    open_sinks,
    to_local_request,
    to_session_request,
    to_started_event,
)
from client_player.session.seen_quality import measure_seen_quality
from client_player.session.summary import Summary, summarise
from client_player.session_log import SessionLog, to_downloaded_event
from client_player.source.base import Source, SourceListener
from client_player.source.discovery import find_manifest, find_title, split_url
from client_player.source.enhance_place import placed_manifest
from client_player.source.live_session import LiveSource, open_live_source, spread_title
from client_player.source.local_session import open_local
from client_player.source.server_session import open_server_source
from client_player.source.session_request import post_session
from client_player.transport.http import HttpReply, HttpTransport, Transport, check_url, http_pool
from client_player.transport.trace_shaper import ShapedTransport
from enhancers.runtime.enhancer import Enhancer

_LUMA_FILE = "shown.y"
FINISH_LOG_MAX_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOutcome:
    """The results of a session. seen: measured quality of each shown segment; None without a source file."""

    summary: Summary
    events: Sequence[AnyEvent]
    title: Title
    table: EnhancementTable | None
    seen: Quality | None
    reporter: PrivateReporter | None = None
    """Hands in its private telemetry; None for viewers who have not opted in."""


def play(
    request: PlayRequest,
    *,
    listener: Callable[[AnyEvent], None] = lambda _event: None,
    on_bytes: Callable[[int], None] = lambda _bytes: None,
    on_measured: Callable[[int], None] = lambda _frames: None,
) -> SessionOutcome:
    """Play a whole session. Raises InputError, DownloadError, FormatError, StorageError; files are written before.

    An interrupt (SIGINT) stops the playing; what was played until then is summed up and written as usual.
    """
    check_url(request.url)
    slow_before = (
        slow_enhancers.load_or_empty(request.slow_enhancers_file)
        if request.slow_enhancers_file
        else slow_enhancers.SlowEnhancers()
    )
    if request.profile is not None:
        request = replace(request, profile=profile_seen(request.slow_enhancers_file, request.profile, slow_before))
    with ExitStack() as stack:
        try:
            if request.out is not None:
                request.out.mkdir(parents=True, exist_ok=True)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toprung-", dir=request.out)))
        except OSError as error:
            raise StorageError(f"Cannot write to {request.out or 'the temporary folder'}: {error.strerror}.") from error
        loop_factory = VirtualTimeLoop if request.virtual_time else asyncio.SelectorEventLoop
        tally = SessionTally(request.profile) if request.private_telemetry else None
        reporter = PrivateReporter(split_url(request.url)[0], tally) if tally else None
        if reporter:
            reporter.start()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            played = runner.run(watch(request, folder / _LUMA_FILE, listener=listener, on_bytes=on_bytes, tally=tally))
        if request.slow_enhancers_file and request.profile:
            keep_speeds(request.slow_enhancers_file, request.profile, slow_before, played.slow_frame_s, played.frame_ms)
        outcome = finish(request, played, folder / _LUMA_FILE, on_measured=on_measured)
        return replace(outcome, reporter=reporter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What is known when the last frame has been shown. slow_frame_s, frame_ms: as in Player."""

    events: Sequence[AnyEvent]
    title: Title
    table: EnhancementTable | None
    audio_offset_max_s: float
    slow_frame_s: Mapping[str, float] = field(default_factory=dict)
    frame_ms: Mapping[str, float] = field(default_factory=dict)


def open_offer(
    offer: Offer, rendition: Rendition, title: Title, measured: Measurement, chunks: Sequence[bytes]
) -> Enhancer:
    """Open an enhancer with the backend and threads that the profile found fastest."""
    from enhancers.runtime.loader import open_enhancer  # brings its backends along

    return open_enhancer(
        offer,
        chunks,
        size_px=(rendition.width_px, rendition.height_px),
        display_px=(title.display_width_px, title.display_height_px),
        backend=measured.backend,
        threads=measured.threads,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SessionContext:
    """What every step of one session needs. direct: the network as it is; transport: shaped by the trace, if any."""

    request: PlayRequest
    clock: SessionClock
    log: SessionLog
    pool: aiohttp.ClientSession
    direct: Transport
    transport: Transport


async def watch(
    request: PlayRequest,
    luma: Path,
    *,
    listener: Callable[[AnyEvent], None] = lambda _event: None,
    on_bytes: Callable[[int], None] = lambda _bytes: None,
    opener: Opener = open_offer,
    tally: SessionTally | None = None,
) -> Played:
    """Play on the running loop. With a source file to compare with, the shown luma is written to `luma`.

    tally: counts what happens for private telemetry, and nothing of it is then posted to the server in the open.
    When this task is cancelled while playing, the session ends as `stopped` and what was played is returned.
    """
    clock = SessionClock()
    source_sha256 = await asyncio.to_thread(file_sha256, request.source_file) if request.source_file else ""
    if request.out is not None:
        clear_session_files(request.out)
    listener = tally.also_taking(listener) if tally else listener
    log = SessionLog(request.out / LOG_FILE if request.out else None, listener, is_posted=tally is None)
    try:
        async with http_pool(idle_s=request.silence_max_s) as pool:
            direct = HttpTransport(pool, clock)
            transport = ShapedTransport(direct, request.trace, clock, on_bytes) if request.trace else direct
            context = _SessionContext(
                request=request, clock=clock, log=log, pool=pool, direct=direct, transport=transport
            )
            source = await _open_source(context)
            if tally:
                tally.know_title(source.title)
            _check_source_file(context, source.title, source_sha256)
            player = await _play_source(context, source, luma, opener)
            await _finish_log(source, log)
            title = await _title_played(source, request, log)
    except ToprungError as error:
        if not log.ended:
            log.append(Ended(t_s=clock.now_s(), reason=str(error)[:1024], played_s=0.0))
        raise
    finally:
        log.close()
    return Played(
        events=log.events,
        title=title,
        table=source.table,
        audio_offset_max_s=player.audio_offset_max_s,
        slow_frame_s=player.slow_frame_s,
        frame_ms=player.frame_ms,
    )


async def _title_played(source: Source, request: PlayRequest, log: SessionLog) -> Title:
    """The source's title; of a stream, as many usual segments as the log speaks of, for reports."""
    if not isinstance(source, LiveSource):
        return source.title
    last = max((event.segment for event in log.events if isinstance(event, Decided | Shown)), default=0)
    title = spread_title(source.title, last + 1)
    if request.out is not None:
        await asyncio.to_thread(write_files, request.out, dump_title_files(title, source.table, request.trace))
    return title


async def _finish_log(source: Source, log: SessionLog) -> None:
    """Post the remaining events, and put the server's own log of the decisions in the place of ours."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FINISH_LOG_MAX_S):
            await log.post_all(source.post_events)
            log.replace_decisions(list(await source.fetch_decisions()))


async def _open_source(context: _SessionContext) -> Source:
    """The source of the decided segments: a session of the server, or the player's own. Session time begins here."""
    request, clock, log, transport = context.request, context.clock, context.log, context.transport
    listener = _source_listener(clock, log)
    if request.local:
        manifest_url = await find_manifest(request.url, request.title, context.direct)
        if request.profile is not None and request.families:
            manifest_url = await placed_manifest(
                manifest_url, request.profile, request.families, pool=context.pool, transport=context.direct
            )
        clock.start()
        local = await open_local(to_local_request(request, manifest_url), transport=transport, listener=listener)
        log.append(to_started_event(request, local.title.id, "local", request.controller))
        return local
    base_url, title_id = await find_title(request.url, request.title, context.direct)
    session_request = to_session_request(request, title_id)
    session = await post_session(context.pool, base_url, session_request)
    clock.start()
    log.append(to_started_event(request, title_id, session.id, session.controller))
    if session.live:
        _check_live(request, title_id)
        return await open_live_source(
            base_url,
            session_request,
            session,
            pool=context.pool,
            transport=transport,
            listener=listener,
            clock=clock,
        )
    return await open_server_source(
        base_url, session_request, session, pool=context.pool, transport=transport, listener=listener
    )


def _check_live(request: PlayRequest, title_id: str) -> None:
    """Raises InputError for what cannot be done with a stream that is running."""
    if request.virtual_time:
        raise InputError(f"{title_id} is live: it plays at its own rate, so leave out --speed max.")
    if request.source_file is not None:
        raise InputError(f"{title_id} is live: no file tells what it should look like; leave out --source.")


def _source_listener(clock: SessionClock, log: SessionLog) -> SourceListener:
    def on_reply(kind: str, reply: HttpReply) -> None:
        log.append(to_downloaded_event(kind, reply.timing, name=urlsplit(reply.url).path[-128:]))

    def on_failure(detail: str) -> None:
        log.append(Failed(t_s=clock.now_s(), what="download", detail=detail[:1024]))

    def on_learnt(learning: LiveLearning) -> None:
        gain = max(-100.0, min(100.0, learning.gain_points))
        log.append(Learnt(t_s=clock.now_s(), publications=learning.publications, gain=gain))

    return SourceListener(on_reply=on_reply, on_failure=on_failure, on_learnt=on_learnt)


def _check_source_file(context: _SessionContext, title: Title, source_sha256: str) -> None:
    """Log a failure when the source file is not the one that the title's pictures were made from."""
    source_file = context.request.source_file
    if source_file is not None and source_sha256 != (title.source.lifted or title.source.sha256):
        detail = f"{source_file.name} is not the file that {title.id} was made from; measured quality may mislead"
        context.log.append(Failed(t_s=context.clock.now_s(), what="source", detail=detail))


async def _play_source(context: _SessionContext, source: Source, luma: Path, opener: Opener) -> Player:
    """Play to the end, or until this task is cancelled; returns the player, which has ended."""
    request = context.request
    if request.out is not None:  # now, so that a session that breaks can be reported too
        await asyncio.to_thread(write_files, request.out, dump_title_files(source.title, source.table, request.trace))
    with ExitStack() as stack:
        setup = PlayerSetup(
            profile=request.profile,
            families=request.families,
            buffer_max_s=request.buffer_max_s,
            opener=opener,
            sinks=open_sinks(request, source.title, luma, stack),
            language=request.language,
            key=key_for(request, source.title),
            keep=CameKeeper(request.keep_came, source.title).keep if request.keep_came else None,
        )
        player = Player(source, setup, transport=context.transport, clock=context.clock, log=context.log)
        if await _play_until_stopped(player) and request.out is not None:
            await player.write_pair(request.out)
    return player


async def _play_until_stopped(player: Player) -> bool:
    """False when the user stopped the session with Ctrl-C: a summary is still to be written."""
    try:
        await player.play()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.uncancel() > 0:
            raise
        return False
    return True


def finish(
    request: PlayRequest, played: Played, luma: Path, *, on_measured: Callable[[int], None] = lambda _frames: None
) -> SessionOutcome:
    """Write the session's files. The quality shown is measured if there is a source file and the user did not stop."""
    stopped = any(isinstance(event, Ended) and event.reason == STOPPED for event in played.events[-4:])
    source_file = None if stopped else request.source_file
    seen = measure_seen_quality(luma, source_file, played.title, advance=on_measured) if source_file else None
    scale = CountedQuality(request.currency, request.qoe).scale(played.title)
    summary = summarise(played.events, played.title, seen, played.audio_offset_max_s, scale)
    if request.out is not None:
        write_files(request.out, {SUMMARY_FILE: dumps_pretty(summary)} | ({SEEN_FILE: dumps(seen)} if seen else {}))
        write_report(
            ReportData(
                events=played.events,
                title=played.title,
                summary=summary,
                table=played.table,
                seen=seen,
                trace=request.trace,
                pair_folder=request.out,
            ),
            request.out / REPORT_FILE,
        )
    return SessionOutcome(summary=summary, events=played.events, title=played.title, table=played.table, seen=seen)

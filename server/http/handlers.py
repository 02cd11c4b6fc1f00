"""What each route does: read the request, ask the session service or the title cache, write the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from abr.core.events import AnyEvent, Ended, EventBatch
from abr.core.live.tables import TABLES_FILE
from abr.core.title import TITLE_FILE
from abr.errors import FormatError
from abr.protocols.prefer import PREFER, read_wait_s
from server.clock import iso_time
from server.context import Context, get_context
from server.errors import RequestError
from server.experiments.report import QoeView, show
from server.http import pages, schemas
from server.http.bodies import json_answer, read_body, read_record
from server.http.file_response import send, sent_body_bytes
from server.http.live_answer import answer_part, send_growing, wait_for_playlist, whole_manifest
from server.http.openapi import JSON
from server.http.segment_answer import answer_segment, answer_segment_part
from server.http.url_prefix import url_prefix
from server.media.live_title import TIME_FILE
from server.media.media_file import PRIVATE
from server.media.versions import cdn_title_url, leads_to_version, split_version, version_folder
from server.session_service import SessionRequest
from server.sessions.cmcd_reports import read_reports
from server.sessions.state import SessionState
from server.sessions.store import StoreError

JSONL = "application/x-ndjson"
MPD = "application/dash+xml"
HLS = "application/vnd.apple.mpegurl"
CMCD_TYPES = ("application/cmcd", "text/cmcd", "text/plain", "application/octet-stream")
"""What players call a body of CMCD events; the last stands for an absent header."""
DRIVEN_FILE, DRIVEN_MASTER_FILE, DRIVEN_MEDIA_FILE = "driven.mpd", "driven.m3u8", "driven-video.m3u8"
"""The title folder's server-driven manifests; their URLs are right when they are served as a session's."""
_LIMIT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_ENDED = Ended(t_s=0.0, reason="", played_s=0.0)
_TITLE_SEGMENT = re.compile(r"video/([^/]+)/seg-([0-9]{5,8})\.m4s")


async def index(request: web.Request) -> web.StreamResponse:
    """The web player for browsers, links for programs."""
    if pages.wants_page(request):
        return await pages.player_page(request)
    at = url_prefix(request)
    links = {name: f"{at}/{name}" for name in ("titles", "metrics", "qoe")}
    version = get_context(request).version
    return json_answer(schemas.Index(name="toprung", version=version, openapi=f"{at}/openapi.json", **links))


async def health(request: web.Request) -> web.Response:
    """Say that the process answers."""
    return json_answer(schemas.Health(status="ok", version=get_context(request).version))


async def metrics(request: web.Request) -> web.Response:
    """In a thread: over several workers it reads their files."""
    context, accept = get_context(request), request.headers.get("Accept", "")
    with suppress(StoreError):  # while the store is away, an experiment's figures are those of before
        if (experiment := await context.sessions.experiment()) is not None:
            show(experiment, context.metrics.experiment)
    text, kind = await asyncio.to_thread(context.metrics.exposition, accept)
    return web.Response(body=text, headers={"Content-Type": kind, "Cache-Control": "no-store"})


async def qoe(request: web.Request) -> web.StreamResponse:
    """The live QoE page for browsers, an experiment's figures for programs that ask for JSON."""
    if JSON not in request.headers.get("Accept", ""):
        return await pages.qoe_page(request)
    return json_answer(QoeView(experiment=await get_context(request).sessions.experiment()), headers={"Vary": "Accept"})


async def devices(request: web.Request) -> web.Response:
    """Tell which devices there were lately, and which tiers pay on them."""
    return json_answer(await get_context(request).sessions.devices())


async def titles(request: web.Request) -> web.Response:
    """List the titles: all of them, or a page."""
    count, at = _titles_count(request.query.get("limit")), url_prefix(request)
    found, has_more = await get_context(request).title_cache.titles(request.query.get("after", "")[:64], count)
    lines = tuple(
        schemas.TitleLine(
            id=title.id,
            duration_s=title.duration_s,
            manifest_url=f"{at}/titles/{title.id}/manifest.mpd",
            hls_url=f"{at}/titles/{title.id}/master.m3u8",
            live=title.live,
        )
        for title in found
    )
    next_url = f"{at}/titles?limit={count}&after={found[-1].id}" if has_more else None
    return json_answer(schemas.TitleList(titles=lines, next_url=next_url))


def _titles_count(limit: str | None) -> int | None:
    """How many titles a page has; None for all."""
    if limit is None:
        return None
    if not _LIMIT.fullmatch(limit):
        raise RequestError(400, f"The limit is {limit[:20]!r}; it takes a number from 1 to 9999.")
    return int(limit)


async def title_file(request: web.Request) -> web.StreamResponse:
    """Send a file of a title."""
    context = get_context(request)
    title_id, relative = request.match_info["title"], request.match_info["file"]
    version, relative = split_version(relative)
    if relative == TIME_FILE and await context.title_cache.is_live(title_id):
        return _time(context)
    response = await _answer_file(request, title_id, relative, version)
    if relative.startswith("enhancers/"):
        context.metrics.weights_bytes.inc(sent_body_bytes(request, response))
    return response


async def _answer_file(request: web.Request, title_id: str, relative: str, version: str) -> web.StreamResponse:
    """With a file, or with what is there of it at a live title's edge."""
    await wait_for_playlist(request, title_id, relative, version)
    if (part := await answer_part(request, title_id, relative, version)) is not None:
        return part
    try:
        return await _send(request, get_context(request), title_id, relative, {}, version)
    except RequestError as error:
        growing = await send_growing(request, title_id, relative, version) if error.status == 404 else None
        if growing is None:
            raise
        return growing


def _time(context: Context) -> web.Response:
    return web.Response(text=iso_time(context.clock()), headers={"Cache-Control": "no-store"})


async def open_session(request: web.Request) -> web.Response:
    """Open a session."""
    context = get_context(request)
    if not context.limits.admit_session(request.remote or ""):
        raise RequestError(429, "Too many sessions opened from this address; wait a little.", {"Retry-After": "1"})
    body = await read_record(request, SessionRequest, "session request")
    wait_s = read_wait_s(request.headers.get(PREFER, ""))
    session_id, state = await context.sessions.open(body, request.remote or "", wait_s)
    at = url_prefix(request)
    session_url = f"{at}/sessions/{session_id}"
    opened = schemas.SessionOpened(
        id=session_id,
        title=state.title,
        manifest_url=f"{session_url}/manifest.mpd",
        hls_url=f"{session_url}/master.m3u8",
        advised_url=f"{session_url}/title/manifest.mpd",
        title_url=_title_url(context.settings.media_base, at, state),
        live=state.live,
        codec=state.codec,
        expires_s=context.settings.session_ttl_s,
        controller=state.controller,
        rate_url=f"{at}/rate" if context.contributions.opinions else "",
    )
    return json_answer(opened, status=201, headers={"Location": session_url})


def _title_url(media_base: str, at: str, state: SessionState) -> str:
    """A version's own title.json and weights stay as they are, so a CDN may have them. A live title's tables change."""
    folder = f"{at}/titles/{state.title}/{version_folder(state.version)}"
    if state.live:
        return f"{folder}{TABLES_FILE}"
    if media_base and state.version:
        folder = cdn_title_url(media_base, state.title, state.version)
    return f"{folder}{TITLE_FILE}"


async def show_session(request: web.Request) -> web.Response:
    """Tell what is remembered of a session."""
    context, session_id = get_context(request), _session_id(request)
    state = await context.sessions.state(session_id)
    prices = await context.sessions.prices(state)
    options = [(prices.rendition_ids[choice.rendition], choice.enhancer) for choice in prices.choices]
    choices = tuple(
        schemas.OptionView(segment=segment, rendition=options[option][0], enhancer=options[option][1])
        for segment in range(state.choices_from, state.choices_from + len(state.choices))
        if (option := state.option(segment)) is not None and option < len(options)
    )
    view = schemas.SessionView(
        id=session_id,
        title=state.title,
        controller=state.controller,
        arm=state.arm,
        families=state.families,
        codec=state.codec,
        has_profile=bool(state.profile),
        buffer_max_s=state.buffer_max_s,
        age_s=max(0.0, context.clock() - state.created_s),
        options=len(options),
        choices=choices,
        throughput_bps=state.throughput_bps(),
    )
    return json_answer(view)


async def end_session(request: web.Request) -> web.Response:
    """End a session and forget it."""
    await get_context(request).sessions.close(_session_id(request))
    return web.Response(status=204)


async def session_manifest(request: web.Request) -> web.StreamResponse:
    """Send the server-driven MPD."""
    return await _session_file(request, DRIVEN_FILE)


async def session_master(request: web.Request) -> web.StreamResponse:
    """Send the server-driven HLS playlist of variants."""
    return await _session_file(request, DRIVEN_MASTER_FILE)


async def session_playlist(request: web.Request) -> web.StreamResponse:
    """Send the media playlist of its one variant; of a live title, once it has what is asked for."""
    state = await get_context(request).sessions.state(_session_id(request))
    if state.live:
        await wait_for_playlist(request, state.title, DRIVEN_MEDIA_FILE, state.version)
    return await _session_file(request, DRIVEN_MEDIA_FILE)


async def session_init(request: web.Request) -> web.StreamResponse:
    """The top rung's: its sample entry has the largest picture and level; parameter sets travel in band (avc3)."""
    context = get_context(request)
    state = await context.sessions.state(_session_id(request))
    if state.live:
        title = (await context.live_titles.outlook(state.title, state.version)).tables.typical
    else:
        title = (await context.title_cache.title(state.title, state.version)).in_codec(state.codec)
    relative = f"video/{title.renditions[-1].id}/init.mp4"
    return await _send(request, context, state.title, relative, {"Cache-Control": PRIVATE}, state.version)


async def session_segment(request: web.Request) -> web.StreamResponse:
    """Decide a segment and send it, or say where it is."""
    return await answer_segment(request, int(request.match_info["number"]) - 1)


async def session_part(request: web.Request) -> web.StreamResponse:
    """Decide a segment of a live title, and send a part of it."""
    number, part = (int(request.match_info[name]) for name in ("number", "part"))
    return await answer_segment_part(request, number - 1, part - 1)


async def session_title_file(request: web.Request) -> web.StreamResponse:
    """The title folder as a session sees it: its standard manifests lead to segments that carry advice."""
    context = get_context(request)
    state, relative = await context.sessions.state(_session_id(request)), request.match_info["file"]
    segment_path = _TITLE_SEGMENT.fullmatch(relative)
    if state.live and relative == TIME_FILE:
        return _time(context)
    if state.live and leads_to_version(relative):
        relative = await whole_manifest(context, state.title, relative, state.version)
    if segment_path is None:
        return await _session_file(request, relative)
    await context.title_cache.file(state.title, relative, state.version)  # what is not there is not decided
    return await answer_segment(request, int(segment_path[2]) - 1, rendition=segment_path[1])


async def session_log(request: web.Request) -> web.Response:
    """Send the session log."""
    body = await get_context(request).sessions.log(_session_id(request))
    return web.Response(body=body, headers={"Content-Type": JSONL, "Cache-Control": PRIVATE})


async def post_events(request: web.Request) -> web.Response:
    """Take in what a player saw; where that is not wanted, no more of it than that the session has ended."""
    batch, context = await read_record(request, EventBatch, "event batch"), get_context(request)
    events: Sequence[AnyEvent] = batch.events
    if not context.settings.viewer_events:
        events = [_ENDED] if any(isinstance(event, Ended) for event in events) else []
    await context.sessions.add_events(_session_id(request), events)
    return web.Response(status=204)


async def post_cmcd(request: web.Request) -> web.Response:
    """CMCD version 2 in event mode: a line for each event."""
    if request.content_type not in CMCD_TYPES:
        raise RequestError(415, f"The CMCD events came as {request.content_type}; send them as {CMCD_TYPES[0]}.")
    context, session_id = get_context(request), _session_id(request)
    try:
        reports, faults = read_reports((await read_body(request)).decode("ascii", "replace"), session_id)
    except FormatError as error:
        raise RequestError(400, str(error)) from error
    context.metrics.cmcd_faults.inc(faults)
    await context.sessions.add_reports(session_id, reports)
    return web.Response(status=204)


async def _session_file(request: web.Request, relative: str) -> web.StreamResponse:
    context = get_context(request)
    state = await context.sessions.state(_session_id(request))
    if not state.live:
        relative = (await context.title_cache.title(state.title, state.version)).file_of(relative, state.codec)
    return await _send(request, context, state.title, relative, {"Cache-Control": PRIVATE}, state.version)


async def _send(
    request: web.Request, context: Context, title_id: str, relative: str, headers: dict[str, str], version: str
) -> web.StreamResponse:
    file = await context.title_cache.file(title_id, relative, version)
    return await send(
        request, context.title_cache, file, headers=headers, patience_s=context.settings.request_timeout_s
    )


def _session_id(request: web.Request) -> str:
    return request.match_info["session"]

"""What each route does: read the request, ask the desk or the shelf, write the answer."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from abr.errors import FormatError
from abr.events import EventBatch
from abr.formats import dumps, loads
from abr.media import TITLE_FILE, segment_file
from server import pages, wire
from server.context import Context, context
from server.decisions import headers
from server.delivery import measure
from server.desk import SessionRequest
from server.media import PRIVATE, send, sent_body_bytes
from server.openapi import JSON
from server.problems import RequestError
from server.reports import read_reports
from server.sessions import SessionState, unpack_download
from server.viewers import Heard, hear

T = TypeVar("T")

JSONL = "application/x-ndjson"
MPD = "application/dash+xml"
HLS = "application/vnd.apple.mpegurl"
CMCD_TYPES = ("application/cmcd", "text/cmcd", "text/plain", "application/octet-stream")
"""What players call a body of CMCD events; the last stands for an absent header."""
DRIVEN_FILE, DRIVEN_MASTER_FILE, DRIVEN_MEDIA_FILE = "driven.mpd", "driven.m3u8", "driven-video.m3u8"
"""The title folder's server-driven manifests; their URLs are right when they are served as a session's."""
_TITLE_SEGMENT = re.compile(r"video/([^/]+)/seg-([0-9]{5,8})\.m4s")


async def index(request: web.Request) -> web.StreamResponse:
    """The web player for browsers, links for programs."""
    if pages.wants_page(request):
        return await pages.player_page(request)
    return _json(wire.Index(name="toprung", version=context(request).version))


async def health(request: web.Request) -> web.Response:
    return _json(wire.Health(status="ok", version=context(request).version))


async def metrics(request: web.Request) -> web.Response:
    """In a thread: over several workers it reads their files."""
    accept = request.headers.get("Accept", "")
    text, kind = await asyncio.to_thread(context(request).telemetry.scraped, accept)
    return web.Response(body=text, headers={"Content-Type": kind, "Cache-Control": "no-store"})


async def titles(request: web.Request) -> web.Response:
    lines = [
        wire.TitleLine(
            id=loaded.title.id,
            duration_s=loaded.title.duration_s,
            manifest_url=f"/titles/{loaded.title.id}/manifest.mpd",
            hls_url=f"/titles/{loaded.title.id}/master.m3u8",
        )
        for loaded in await context(request).shelf.titles()
    ]
    return _json(wire.TitleList(titles=tuple(lines)))


async def title_file(request: web.Request) -> web.StreamResponse:
    use = context(request)
    title_id, relative = request.match_info["title"], request.match_info["file"]
    response = await _send(request, use, title_id, relative, {})
    if relative.startswith("enhancers/"):
        use.telemetry.weights_bytes.inc(sent_body_bytes(request, response))
    return response


async def open_session(request: web.Request) -> web.Response:
    use = context(request)
    if not use.limits.session(request.remote or ""):
        raise RequestError(429, "Too many sessions opened from this address; wait a little.", {"Retry-After": "1"})
    session_id, state = await use.desk.open(await _read(request, SessionRequest, "session request"))
    opened = wire.SessionOpened(
        id=session_id,
        title=state.title,
        manifest_url=f"/sessions/{session_id}/manifest.mpd",
        hls_url=f"/sessions/{session_id}/master.m3u8",
        advised_url=f"/sessions/{session_id}/title/manifest.mpd",
        title_url=f"/titles/{state.title}/{TITLE_FILE}",
        expires_s=use.settings.session_ttl_s,
    )
    return _json(opened, status=201, headers={"Location": f"/sessions/{session_id}"})


async def show_session(request: web.Request) -> web.Response:
    use, session_id = context(request), _session_id(request)
    state = await use.desk.state(session_id)
    prices = await use.desk.prices(state)
    named = [(prices.rendition_ids[choice.rendition], choice.enhancer) for choice in prices.choices]
    choices = tuple(
        wire.Choice(segment=segment, rendition=named[option][0], enhancer=named[option][1])
        for segment in range(state.taken_from, state.taken_from + len(state.taken))
        if (option := state.option(segment)) is not None and option < len(named)
    )
    view = wire.SessionView(
        id=session_id,
        title=state.title,
        controller=state.controller,
        families=state.families,
        has_profile=bool(state.profile),
        buffer_max_s=state.buffer_max_s,
        age_s=max(0.0, use.clock() - state.created_s),
        options=len(named),
        choices=choices,
        throughput_bps=_throughput_bps(state),
    )
    return _json(view)


async def end_session(request: web.Request) -> web.Response:
    await context(request).desk.close(_session_id(request))
    return web.Response(status=204)


async def session_manifest(request: web.Request) -> web.StreamResponse:
    return await _session_file(request, DRIVEN_FILE)


async def session_master(request: web.Request) -> web.StreamResponse:
    return await _session_file(request, DRIVEN_MASTER_FILE)


async def session_playlist(request: web.Request) -> web.StreamResponse:
    return await _session_file(request, DRIVEN_MEDIA_FILE)


async def session_init(request: web.Request) -> web.StreamResponse:
    """The top rung's: its sample entry has the largest picture and level; parameter sets travel in band (avc3)."""
    use = context(request)
    state = await use.desk.state(_session_id(request))
    loaded = await use.shelf.title(state.title)
    relative = f"video/{loaded.title.renditions[-1].id}/init.mp4"
    return await _send(request, use, state.title, relative, {"Cache-Control": PRIVATE})


async def session_segment(request: web.Request) -> web.StreamResponse:
    return await _decided_segment(request, int(request.match_info["number"]) - 1)


async def session_title_file(request: web.Request) -> web.StreamResponse:
    """The title folder as a session sees it: its standard manifests lead to segments that carry advice."""
    use = context(request)
    state, relative = await use.desk.state(_session_id(request)), request.match_info["file"]
    named = _TITLE_SEGMENT.fullmatch(relative)
    if named is None:
        return await _send(request, use, state.title, relative, {"Cache-Control": PRIVATE})
    await use.shelf.file(state.title, relative)  # what is not there is not decided
    return await _decided_segment(request, int(named[2]) - 1, asked=named[1])


async def _decided_segment(request: web.Request, segment: int, asked: str = "") -> web.StreamResponse:
    use, session_id = context(request), _session_id(request)
    heard = hear(request)
    if heard.fault:
        use.telemetry.cmcd_faults.inc()
    taken = await use.desk.choose(session_id, segment, heard, asked=asked)
    relative = f"video/{taken.rendition}/{segment_file(segment)}"
    started = time.perf_counter()
    response = await _send(request, use, taken.state.title, relative, headers(taken))
    if response.status == 200 and request.method == "GET":
        await _note_sending(request, use, heard, sent_body_bytes(request, response), time.perf_counter() - started)
    return response


async def session_log(request: web.Request) -> web.Response:
    body = await context(request).desk.log(_session_id(request))
    return web.Response(body=body, headers={"Content-Type": JSONL, "Cache-Control": PRIVATE})


async def post_events(request: web.Request) -> web.Response:
    batch = await _read(request, EventBatch, "event batch")
    await context(request).desk.report(_session_id(request), batch.events)
    return web.Response(status=204)


async def post_cmcd(request: web.Request) -> web.Response:
    """CMCD version 2 in event mode: a line for each event."""
    if request.content_type not in CMCD_TYPES:
        raise RequestError(415, f"The CMCD events came as {request.content_type}; send them as {CMCD_TYPES[0]}.")
    use, session_id = context(request), _session_id(request)
    try:
        reports, faults = read_reports((await request.read()).decode("ascii", "replace"), session_id)
    except FormatError as error:
        raise RequestError(400, str(error)) from error
    use.telemetry.cmcd_faults.inc(faults)
    await use.desk.delivered(session_id, reports)
    return web.Response(status=204)


async def _session_file(request: web.Request, relative: str) -> web.StreamResponse:
    use = context(request)
    state = await use.desk.state(_session_id(request))
    return await _send(request, use, state.title, relative, {"Cache-Control": PRIVATE})


async def _send(
    request: web.Request, use: Context, title_id: str, relative: str, headers: dict[str, str]
) -> web.StreamResponse:
    file = await use.shelf.file(title_id, relative)
    return await send(request, use.shelf, file, headers=headers, patience_s=use.settings.request_timeout_s)


async def _note_sending(request: web.Request, use: Context, heard: Heard, size_bytes: int, wrote_s: float) -> None:
    if heard.tells_throughput:
        return
    delivery = measure(request.transport, size_bytes, wrote_s)
    if delivery is not None:
        await use.desk.sent(_session_id(request), delivery, size_bytes)


def _throughput_bps(state: SessionState) -> float | None:
    downloads = [unpack_download(packed) for packed in state.downloads]
    total_s = sum(download.duration_s for download in downloads)
    return 8 * sum(download.size_bytes for download in downloads) / total_s if total_s else None


def _session_id(request: web.Request) -> str:
    return request.match_info["session"]


async def _read(request: web.Request, kind: type[T], what: str) -> T:
    """The request's JSON body as `kind`; 415 when it is something else, 400 when it is not valid."""
    if request.content_type not in (JSON, "application/octet-stream"):  # the latter stands for an absent header
        raise RequestError(415, f"The {what} came as {request.content_type}; send it as {JSON}.")
    body = await request.read()
    try:
        return loads(body, kind, what=f"The {what}")
    except FormatError as error:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return msgspec.convert(_whole(msgspec.json.decode(body)), kind)
        raise RequestError(400, str(error)) from error


def _whole(value: Any) -> Any:
    """1.0 becomes 1, everywhere in a decoded JSON value: to JSON Schema both are integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {name: _whole(each) for name, each in value.items()} if isinstance(value, dict) else value


def _json(record: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    fixed = {"Cache-Control": "no-store"} | (headers or {})
    return web.Response(status=status, body=dumps(record), content_type=JSON, headers=fixed)

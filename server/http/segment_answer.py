"""A decided segment as HTTP tells it: its bytes, where they are, or the decision alone."""

from __future__ import annotations

import re
import time

from aiohttp import web

from abr.core.title import segment_file
from abr.records import dumps
from server.context import Context, get_context
from server.errors import RequestError
from server.http.decision_headers import decision_headers, redirect_decision_headers
from server.http.file_response import send, sent_body_bytes
from server.http.growing_segment import reach_growing
from server.http.live_answer import reach_part, send_part
from server.http.openapi import JSON
from server.http.schemas import DecidedSegment
from server.http.url_prefix import url_prefix
from server.media.media_file import MediaFile, content_type_of
from server.media.versions import cdn_media_url, version_folder
from server.session_service import SegmentQuery
from server.sessions.decisions import SegmentDecision
from server.sessions.observation import ClientHints, read_hints
from server.sessions.tcp_info import measure_delivery

_WANTS_DECISION = re.compile(r"\s*application/json\s*(?:;[^,]*)?", re.IGNORECASE)


async def answer_segment(request: web.Request, segment: int, rendition: str = "") -> web.StreamResponse:
    """Decide a segment and answer with it. rendition: what a player that chooses for itself asks for."""
    context, session_id = get_context(request), request.match_info["session"]
    hints = read_hints(request)
    if hints.fault:
        context.metrics.cmcd_faults.inc()
    query = SegmentQuery(segment, hints, rendition=rendition)
    try:
        decided = await context.sessions.decide(session_id, query)
    except RequestError as error:
        growing = await _answer_growing(request, query) if error.status == 404 and not rendition else None
        if growing is None:
            raise
        return growing
    state, relative = decided.state, f"video/{decided.rendition}/{segment_file(segment)}"
    file = await context.title_cache.file(state.title, relative, state.version)
    elsewhere = cdn_media_url(context.settings.media_base, state.title, state.version, relative)
    if _WANTS_DECISION.fullmatch(request.headers.get("Accept", "")):
        return _decision(decided, file.size_bytes, elsewhere or _title_path(request, decided, relative))
    if elsewhere and hints.tells_throughput:
        return web.Response(status=307, headers=redirect_decision_headers(decided) | {"Location": elsewhere})
    return await _send(request, context, hints, decided, file)


async def answer_segment_part(request: web.Request, segment: int, part: int) -> web.StreamResponse:
    """Decide a segment with its first part, and answer with one of them (all 0-based), as soon as it is there."""
    context, session_id = get_context(request), request.match_info["session"]
    state, hints = await context.sessions.state(session_id), read_hints(request)
    if not state.live:
        raise RequestError(404, "Only segments of live streams come in parts.")
    live, seen_s = await reach_part(context, state.title, state.version, segment, part)
    decided = await context.sessions.decide(session_id, SegmentQuery(segment, hints, begun_s=seen_s))
    relative = f"video/{decided.rendition}/{segment_file(segment)}"
    headers = decision_headers(decided) | {"Content-Type": content_type_of(relative)}
    started = time.perf_counter()
    response = await send_part(request, live, relative, part, headers)
    await _note_delivery(request, context, hints, response, time.perf_counter() - started)
    return response


async def _answer_growing(request: web.Request, query: SegmentQuery) -> web.StreamResponse | None:
    """Decide a segment of a live title that is under way, or the next one, once its first chunk is there.

    None when it is neither.
    """
    context, session_id = get_context(request), request.match_info["session"]
    state = await context.sessions.state(session_id)
    growing = None
    if state.live:
        growing = await reach_growing(context, state.title, state.version, query.segment)
    if growing is None:
        return None
    decided = await context.sessions.decide(session_id, query._replace(begun_s=growing.seen_s))
    relative = f"video/{decided.rendition}/{segment_file(query.segment)}"
    if _WANTS_DECISION.fullmatch(request.headers.get("Accept", "")):
        elsewhere = cdn_media_url(context.settings.media_base, state.title, state.version, relative)
        return _decision(decided, None, elsewhere or _title_path(request, decided, relative))
    headers = decision_headers(decided) | {"Content-Type": content_type_of(relative)}
    response = await growing.send(request, relative, headers)
    await _note_delivery(request, context, query.hints, response, growing.wrote_s)
    return response


def _title_path(request: web.Request, decided: SegmentDecision, relative: str) -> str:
    state = decided.state
    return f"{url_prefix(request)}/titles/{state.title}/{version_folder(state.version)}{relative}"


def _decision(decided: SegmentDecision, size_bytes: int | None, url: str) -> web.Response:
    told = DecidedSegment(
        rendition=decided.rendition,
        enhancer=decided.enhancer,
        promised_vmaf=decided.promised_vmaf,
        promised_quality=decided.promised_quality,
        wait_s=decided.wait_s,
        reason=decided.reason,
        url=url,
        size_bytes=size_bytes,
    )
    return web.Response(body=dumps(told), content_type=JSON, headers=decision_headers(decided))


async def _send(
    request: web.Request, context: Context, hints: ClientHints, decided: SegmentDecision, file: MediaFile
) -> web.StreamResponse:
    started = time.perf_counter()
    patience_s = context.settings.request_timeout_s
    headers = decision_headers(decided)
    response = await send(request, context.title_cache, file, headers=headers, patience_s=patience_s)
    await _note_delivery(request, context, hints, response, time.perf_counter() - started)
    return response


async def _note_delivery(
    request: web.Request, context: Context, hints: ClientHints, response: web.StreamResponse, took_s: float
) -> None:
    """Of viewers who tell nothing of their network."""
    if response.status == 200 and request.method == "GET" and not hints.tells_throughput:
        delivery = measure_delivery(request.transport, sent_body_bytes(request, response), took_s)
        if delivery is not None:
            await context.sessions.note_delivery(request.match_info["session"], delivery)

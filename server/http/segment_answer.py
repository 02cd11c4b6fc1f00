"""A decided segment as HTTP tells it: its bytes, where they are, or the decision alone."""

from __future__ import annotations

import re
import time

from aiohttp import web

from abr.core.title import segment_file
from abr.records import dumps
from server.context import Context, get_context
from server.http.decision_headers import decision_headers, redirect_decision_headers
from server.http.file_response import send, sent_body_bytes
from server.http.openapi import JSON
from server.http.schemas import DecidedSegment
from server.http.url_prefix import url_prefix
from server.media.media_file import MediaFile
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
    decided = await context.sessions.decide(session_id, SegmentQuery(segment, hints, rendition=rendition))
    state, relative = decided.state, f"video/{decided.rendition}/{segment_file(segment)}"
    file = await context.title_cache.file(state.title, relative, state.version)
    elsewhere = cdn_media_url(context.settings.media_base, state.title, state.version, relative)
    if _WANTS_DECISION.fullmatch(request.headers.get("Accept", "")):
        here = f"{url_prefix(request)}/titles/{state.title}/{version_folder(state.version)}{relative}"
        return _decision(decided, file, elsewhere or here)
    if elsewhere and hints.tells_throughput:
        return web.Response(status=307, headers=redirect_decision_headers(decided) | {"Location": elsewhere})
    return await _send(request, context, hints, decided, file)


def _decision(decided: SegmentDecision, file: MediaFile, url: str) -> web.Response:
    told = DecidedSegment(
        rendition=decided.rendition,
        enhancer=decided.enhancer,
        promised_vmaf=decided.promised_vmaf,
        promised_quality=decided.promised_quality,
        wait_s=decided.wait_s,
        reason=decided.reason,
        url=url,
        size_bytes=file.size_bytes,
    )
    return web.Response(body=dumps(told), content_type=JSON, headers=decision_headers(decided))


async def _send(
    request: web.Request, context: Context, hints: ClientHints, decided: SegmentDecision, file: MediaFile
) -> web.StreamResponse:
    started = time.perf_counter()
    patience_s = context.settings.request_timeout_s
    headers = decision_headers(decided)
    response = await send(request, context.title_cache, file, headers=headers, patience_s=patience_s)
    if response.status == 200 and request.method == "GET" and not hints.tells_throughput:
        size_bytes, took_s = sent_body_bytes(request, response), time.perf_counter() - started
        delivery = measure_delivery(request.transport, size_bytes, took_s)
        if delivery is not None:
            await context.sessions.note_delivery(request.match_info["session"], delivery)
    return response

"""What is still to come of a live title: playlists that wait, parts, and segments that are sent while they grow.

A request waits for a chunk no longer than three segments last. What lies further ahead than players may ask for is
refused at once (RFC 8216bis, 6.2.5.2).
"""

from __future__ import annotations

import math
import re

from aiohttp import web

from server.context import Context, get_context
from server.errors import RequestError
from server.http.file_response import SENT, finish, patience
from server.live_edge.growing import segment_number, split_part
from server.live_edge.watch import Edge
from server.media.live_title import WHOLE_FOLDER, LiveTitle
from server.media.media_file import BRIEF, IMMUTABLE, content_type_of
from server.media.title_cache import SLOWEST_BYTES_PER_S

MSN, PART = "_HLS_msn", "_HLS_part"
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_PLAYLIST = re.compile(r"[^/]+\.m3u8")
_NOT_LIVE = (404, 410)
_WAIT_SEGMENTS = 3
_SEGMENTS_AHEAD = 2
"""A playlist may be asked for so many segments ahead of the newest whole one."""
_PARTS_AHEAD_S = 3.0
"""And for the parts of so many seconds ahead of the newest one: the Advance Part Limit."""


async def wait_for_playlist(request: web.Request, title_id: str, relative: str, version: str) -> None:
    """Wait until a media playlist has what `_HLS_msn` and `_HLS_part` ask for, if they do.

    Raises RequestError: 400 for what cannot be asked for, 503 when it does not come.
    """
    asked = _asked_position(request) if _PLAYLIST.fullmatch(relative) else None
    if asked is None:
        return
    context = get_context(request)
    try:
        live, (segment, part) = (await context.edge_watch.now(title_id, version)).live, asked
    except RequestError as error:
        if error.status in _NOT_LIVE:  # whoever sends the playlist knows better what to say
            return
        raise
    if not _is_growing(context, live):  # then there is nothing to wait for
        return
    if part is None:
        part = live.segment_chunks - 1
    elif part >= live.segment_chunks:
        segment, part = segment + 1, 0
    if segment > live.end + _SEGMENTS_AHEAD - 1 or _parts_ahead(live, segment, part) > _parts_ahead_max(live):
        raise RequestError(400, f"That is too far ahead: the newest whole segment of {live.id!r} is {live.end}.")
    edge = await _reach(request, title_id, version, live, segment, part)
    async with context.edge_watch.turn(f"{title_id}/{version}/{relative}"):  # the first one reads it for all
        await context.title_cache.file(title_id, relative, version, since_s=edge.seen_s)


async def answer_part(request: web.Request, title_id: str, relative: str, version: str) -> web.StreamResponse | None:
    """Answer with a part of a segment, as soon as it is there; None when the path is not that of a part."""
    asked = split_part(relative)
    if asked is None:
        return None
    segment_path, segment, part = asked
    context = get_context(request)
    live = (await context.edge_watch.now(title_id, version)).live
    if not live.has(segment, part) and _is_growing(context, live):
        if _parts_ahead(live, segment, part) > _parts_ahead_max(live):
            raise RequestError(404, f"That part of {live.id!r} is too far ahead.", {"Retry-After": "1"})
        await _reach(request, title_id, version, live, segment, part)
    body = await context.live_parts.read(title_id, live.version, segment_path, part)
    if body is None:
        raise RequestError(404, f"Segment {segment + 1} of {live.id!r} has no part {part + 1}.")
    async with patience(context.settings.request_timeout_s + len(body) / SLOWEST_BYTES_PER_S):
        return await finish(request, web.Response(body=body, headers=_headers(relative, version)))


async def send_growing(request: web.Request, title_id: str, relative: str, version: str) -> web.StreamResponse | None:
    """Send a segment that is under way, or the next one, chunk by chunk; None when it is neither.

    When the stream stops meanwhile, the viewer is hung up on: what has come is not the whole segment.
    """
    segment, context = segment_number(relative), get_context(request)
    if segment is None:
        return None
    live = (await context.edge_watch.now(title_id, version)).live
    if not _is_growing(context, live) or not 0 <= segment - live.end < _SEGMENTS_AHEAD:
        return None
    live = (await _reach(request, title_id, version, live, segment, 0)).live
    if not live.has(segment, 0):
        return None
    response = web.StreamResponse(headers=_headers(relative, version) | {"X-Accel-Buffering": "no"})
    response.enable_chunked_encoding()
    writer = await response.prepare(request)
    sent_bytes, part = 0, 0
    while request.method == "GET" and part < live.segment_chunks:
        if not live.has(segment, part):
            live = await _go_on(context, title_id, version, live, segment, part)
        body = await context.live_parts.read(title_id, live.version, relative, part)
        if body is None:
            break
        async with patience(context.settings.request_timeout_s + len(body) / SLOWEST_BYTES_PER_S):
            await response.write(body)
            if writer is not None:
                await writer.drain()
        part, sent_bytes = part + 1, sent_bytes + len(body)
    await response.write_eof()
    response[SENT] = sent_bytes
    return response


async def whole_manifest(context: Context, title_id: str, relative: str, version: str) -> str:
    """The manifest of a live title that tells of whole segments only; a stream without chunks has no other one."""
    whole = f"{WHOLE_FOLDER}/{relative}"
    try:
        await context.title_cache.file(title_id, whole, version)
    except RequestError as error:
        if error.status in _NOT_LIVE:
            return relative
        raise
    return whole


async def _go_on(context: Context, title_id: str, version: str, live: LiveTitle, segment: int, part: int) -> LiveTitle:
    """Raises ConnectionResetError when no more comes of a segment that is not whole."""
    try:
        live = (await context.edge_watch.reach(title_id, version, segment, part, _patience_s(live))).live
    except (TimeoutError, RequestError) as error:
        raise ConnectionResetError(f"{title_id} stopped within a segment") from error
    if not live.has(segment, part):
        raise ConnectionResetError(f"{title_id} ended before the segment had begun")
    return live


async def _reach(request: web.Request, title_id: str, version: str, live: LiveTitle, segment: int, part: int) -> Edge:
    watch = get_context(request).edge_watch
    try:
        return await watch.reach(title_id, version, segment, part, _patience_s(live))
    except TimeoutError as error:
        again = {"Retry-After": str(math.ceil(live.segment_s))}
        raise RequestError(503, f"Nothing new has come of {live.id!r} for a while; try again.", again) from error


def _asked_position(request: web.Request) -> tuple[int, int | None] | None:
    """The 0-based segment and part that a playlist is asked to have; None for whichever."""
    asked = {name: request.query[name] for name in (MSN, PART) if name in request.query}
    if not asked:
        return None
    for name, text in asked.items():
        if not _NUMBER.fullmatch(text):
            raise RequestError(400, f"{name} is {text[:20]!r}; it takes a number.")
    if MSN not in asked:
        raise RequestError(400, f"{PART} goes with {MSN}.")
    return int(asked[MSN]) - 1, int(asked[PART]) if PART in asked else None


def _is_growing(context: Context, live: LiveTitle) -> bool:
    """Whether chunks of it come one after the other: not of a stream without chunks, or whose encoder was killed."""
    return live.segment_chunks > 1 and live.state_at(context.clock()) == "running"


def _parts_ahead(live: LiveTitle, segment: int, part: int) -> int:
    """How many parts after the newest one it is."""
    return (segment - live.end) * live.segment_chunks + part - (live.chunks - 1)


def _parts_ahead_max(live: LiveTitle) -> int:
    part_s = live.segment_s / live.segment_chunks
    return math.ceil(_PARTS_AHEAD_S / min(1.0, part_s))


def _patience_s(live: LiveTitle) -> float:
    return _WAIT_SEGMENTS * math.ceil(live.segment_s)


def _headers(relative: str, version: str) -> dict[str, str]:
    return {"Content-Type": content_type_of(relative), "Cache-Control": IMMUTABLE if version else BRIEF}

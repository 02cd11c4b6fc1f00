"""What is still to come of a live title: playlists that wait, parts, and segments that grow (`growing_segment`).

A request waits for a chunk no longer than three segments last. What lies further ahead than players may ask for is
refused at once (RFC 8216bis, 6.2.5.2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from aiohttp import web

from abr.protocols import cmsd
from server.context import Context, get_context
from server.errors import RequestError
from server.http.file_response import finish, patience
from server.http.growing_segment import SEGMENTS_AHEAD, is_growing, reach_chunk, reach_growing
from server.live_edge.growing import segment_number, split_part
from server.live_edge.watch import Edge
from server.media.live_title import WHOLE_FOLDER, LiveTitle
from server.media.media_file import BRIEF, IMMUTABLE, content_type_of
from server.media.title_cache import SLOWEST_BYTES_PER_S
from server.sessions.tcp_info import delivery_rate_bps

MSN, PART = "_HLS_msn", "_HLS_part"
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_PLAYLIST = re.compile(r"[^/]+\.m3u8")
_NOT_LIVE = (404, 410)
_SIGNS_OF_PROXIES = ("Via", "Forwarded", "X-Forwarded-For")
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
    if not is_growing(context, live):  # then there is nothing to wait for
        return
    if part is None:
        part = live.segment_chunks - 1
    elif part >= live.segment_chunks:
        segment, part = segment + 1, 0
    if segment > live.end + SEGMENTS_AHEAD - 1 or _parts_ahead(live, segment, part) > _parts_ahead_max(live):
        raise RequestError(400, f"That is too far ahead: the newest whole segment of {live.id!r} is {live.end}.")
    edge = await reach_chunk(context, title_id, version, live, segment, part)
    async with context.edge_watch.turn(f"{title_id}/{version}/{relative}"):  # the first one reads it for all
        await context.title_cache.file(title_id, relative, version, since_s=edge.seen_s)


async def answer_part(request: web.Request, title_id: str, relative: str, version: str) -> web.StreamResponse | None:
    """Answer with a part of a segment, as soon as it is there; None when the path is not that of a part."""
    asked = split_part(relative)
    if asked is None:
        return None
    segment_path, segment, part = asked
    live, _ = await reach_part(get_context(request), title_id, version, segment, part)
    return await send_part(request, live, segment_path, part, _headers(relative, version))


async def reach_part(context: Context, title_id: str, version: str, segment: int, part: int) -> Edge:
    """Wait for a part (both 0-based) of a segment, if it may be asked for. Raises RequestError 404, 410, 503."""
    edge = await context.edge_watch.now(title_id, version)
    live = edge.live
    if not live.has(segment, part) and is_growing(context, live):
        if _parts_ahead(live, segment, part) > _parts_ahead_max(live):
            raise RequestError(404, f"That part of {live.id!r} is too far ahead.", {"Retry-After": "1"})
        edge = await reach_chunk(context, title_id, version, live, segment, part)
    return edge


async def send_part(
    request: web.Request, live: LiveTitle, segment_path: str, part: int, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send a part (0-based) of a segment. Raises RequestError 404 when it is not there."""
    context = get_context(request)
    body = await context.live_parts.read(live.id, live.version, segment_path, part)
    if body is None:
        number = (segment_number(segment_path) or 0) + 1
        raise RequestError(404, f"Segment {number} of {live.id!r} has no part {part + 1}.")
    async with patience(context.settings.request_timeout_s + len(body) / SLOWEST_BYTES_PER_S):
        return await finish(request, web.Response(body=body, headers=headers))


async def send_growing(request: web.Request, title_id: str, relative: str, version: str) -> web.StreamResponse | None:
    """Send a segment that is under way, or the next one, chunk by chunk; None when it is neither."""
    segment, context = segment_number(relative), get_context(request)
    growing = None if segment is None else await reach_growing(context, title_id, version, segment)
    if growing is None:
        return None
    return await growing.send(request, relative, _headers(relative, version) | _estimate(request))


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


def _parts_ahead(live: LiveTitle, segment: int, part: int) -> int:
    """How many parts after the newest one it is."""
    return (segment - live.end) * live.segment_chunks + part - (live.chunks - 1)


def _parts_ahead_max(live: LiveTitle) -> int:
    part_s = live.segment_s / live.segment_chunks
    return math.ceil(_PARTS_AHEAD_S / min(1.0, part_s))


def _estimate(request: web.Request) -> dict[str, str]:
    """What the viewer's connection carries (CTA-5006): some players take the waits between chunks for a slow network.

    Nothing where a proxy stands between: ours would be the proxy's connection.
    """
    if any(name in request.headers for name in _SIGNS_OF_PROXIES) or "audio/" in request.path:
        return {}
    rate_bps = delivery_rate_bps(request.transport)
    return {} if rate_bps is None else {cmsd.DYNAMIC: cmsd.estimated(rate_bps)}


def _headers(relative: str, version: str) -> dict[str, str]:
    return {"Content-Type": content_type_of(relative), "Cache-Control": IMMUTABLE if version else BRIEF}

"""What people say of what they saw: clips to be rated, and opinions, which come from our own page alone."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from aiohttp import web

from server.context import get_context
from server.errors import RequestError
from server.http.bodies import json_answer, read_record
from server.http.pages import opinion_box
from server.http.schemas import OpinionPosted, RatingPairs
from server.sessions.session_ids import store_key


async def rating_pairs(request: web.Request) -> web.Response:
    """The clips that are to be rated, two by two; names tell nothing."""
    box = opinion_box(request)
    return json_answer(RatingPairs(set=box.set, pairs=box.pairs))


async def rating_clip(request: web.Request) -> web.StreamResponse:
    """A clip, or a part of it."""
    path = opinion_box(request).clip(request.match_info["clip"])
    if not await asyncio.to_thread(path.is_file):
        raise RequestError(404, "This clip is no longer there.")
    return web.FileResponse(path, headers={"Cache-Control": "private, max-age=3600", "Content-Type": "video/mp4"})


async def post_opinion(request: web.Request) -> web.Response:
    """Keep an opinion of one or two clips, or of a film by who watched it."""
    box, context = opinion_box(request), get_context(request)
    _check_same_origin(request)
    if not context.limits.admit_opinion(request.remote or ""):
        raise RequestError(429, "Too many opinions from this address; wait a little.", {"Retry-After": "1"})
    opinion = await read_record(request, OpinionPosted, "opinion")
    if bool(opinion.clips) == bool(opinion.sessions) or (opinion.score is None) != (not opinion.sessions):
        raise RequestError(422, "An opinion is of clips, each with its score, or of sessions, with one score.")
    if opinion.score is not None:
        watched = await context.sessions.watched(opinion.sessions)
        keys = [store_key(session) for session in opinion.sessions]
        await asyncio.to_thread(box.keep_film, keys, watched.title, opinion.sitting, opinion.score, watched.features)
    else:
        scores = [(each.clip, each.score) for each in opinion.clips]
        await asyncio.to_thread(box.keep_clips, opinion.sitting, scores)
    return web.Response(status=204)


def _check_same_origin(request: web.Request) -> None:
    """Raises RequestError 403 for what another site has a browser send: browsers tell, by one header or the other."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_ours = site == "same-origin" if site else origin is None or urlsplit(origin).netloc == request.host
    if not is_ours:
        raise RequestError(403, "Opinions come from this server's own page.")

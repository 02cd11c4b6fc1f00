"""The pages that this server brings along: the web player, the live QoE page, a page for each session."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from aiohttp import web

from abr.core.events import dumps_line, loads_log
from abr.opinions.rating_key import SCRIPT_FILE
from abr.protocols.session_api import PUBLIC_ID_CHARACTERS
from server.context import get_context
from server.errors import RequestError
from server.http.file_response import patience
from server.media.conditional_requests import Validators, evaluate, takes_gzip
from server.monitoring.event_feed import ALONE, TOGETHER, without_id
from server.opinions.opinion_box import OpinionBox

WEB = Path(str(files("server"))) / "web"
TWO_CLIPS = Path(str(files("abr"))) / "opinions" / SCRIPT_FILE
"""What shows two clips, shared with the pages that `toprung bench pairs` writes."""
GENERIC = WEB.parents[1] / "enhancers" / "weights"
"""The generic networks' weights: a client has them with the program, a page gets them from here as /web/generic/."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{cdn}; connect-src 'self'{cdn}; "
    "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline, nothing made from text. Media Source Extensions plays from a blob: URL.

cdn: where media comes from beside this server, after a space.
"""
HEARTBEAT_S = 15.0
"""Silence for longer looks like a dead connection to proxies."""
JSONL = "application/x-ndjson"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".safetensors": "application/octet-stream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A file of the pages as it is sent: plain, and packed by gzip."""

    body: bytes
    packed: bytes
    etag: str
    content_type: str


@cache
def page_files() -> dict[str, PageFile]:
    """All files of the pages by their path under /web/, read and packed once."""
    found = {path.relative_to(WEB).as_posix(): path for path in sorted(WEB.rglob("*")) if path.suffix in _TYPES}
    found["rate/two_clips.js"] = TWO_CLIPS
    found |= {f"generic/{path.name}": path for path in sorted(GENERIC.glob("*.safetensors"))}
    return {name: _page_file(path) for name, path in found.items() if path.is_file()}


def _page_file(path: Path) -> PageFile:
    body = path.read_bytes()
    return PageFile(
        body=body,
        packed=gzip.compress(body, mtime=0),
        etag=hashlib.sha256(body).hexdigest()[:20],
        content_type=_TYPES[path.suffix],
    )


def opinion_box(request: web.Request) -> OpinionBox:
    """Raises RequestError 404 where nobody is asked."""
    box = get_context(request).contributions.opinions
    if box is None:
        raise RequestError(404, "This server asks nobody what they think; its operator can, with --rate.")
    return box


def wants_page(request: web.Request) -> bool:
    """Browsers name HTML when they open a page; programs that ask for anything get JSON."""
    return "text/html" in request.headers.get("Accept", "")


async def player_page(request: web.Request) -> web.StreamResponse:
    """The web player."""
    return _answer(request, "index.html")


async def qoe_page(request: web.Request) -> web.StreamResponse:
    """The live QoE page."""
    return _answer(request, "qoe.html")


async def rate_page(request: web.Request) -> web.StreamResponse:
    """The page that asks what people think, where there is one."""
    opinion_box(request)
    return _answer(request, "rate.html")


async def session_page(request: web.Request) -> web.StreamResponse:
    """The same for every session: the log that it asks for tells whether there is one."""
    return _answer(request, "session.html")


async def page_file(request: web.Request) -> web.StreamResponse:
    """A script, style or licence of the pages."""
    return _answer(request, PurePosixPath(request.match_info["file"]).as_posix())


async def session_lines(request: web.Request) -> web.Response:
    """The whole log of a session as watchers may see it, from the store: any worker knows it."""
    log = await get_context(request).sessions.public_log(request.match_info["shown"])
    body = await asyncio.to_thread(_public_lines, log)
    return web.Response(body=body, headers={"Content-Type": JSONL, "Cache-Control": "no-store"})


def _public_lines(log: bytes) -> bytes:
    return b"".join(dumps_line(without_id(event)) for event in loads_log(log))


async def feed(request: web.Request) -> web.StreamResponse:
    """Server-sent events (WHATWG HTML, 9.2): what is kept, `event: live`, then each event as it happens.

    `event: alone` comes when only this process's sessions can be told of, `event: together` when all can be again.
    """
    source = get_context(request).feed
    if source.is_full:
        raise RequestError(503, "Too many are watching; try again later.", {"Retry-After": "10"})
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    if request.method == "HEAD":
        return response
    await response.prepare(request)
    async for message in _messages(source.watch(request.query.get("session", "")[:PUBLIC_ID_CHARACTERS])):
        async with patience(get_context(request).settings.request_timeout_s):
            await response.write(message)
    return response


async def _messages(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each line as a message; a comment when there was none for a while."""
    coming = asyncio.ensure_future(anext(lines, None))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT_S)
            if not done:
                yield b":\n\n"
                continue
            line = coming.result()
            if line is None:
                return
            yield _message(line)
            coming = asyncio.ensure_future(anext(lines, None))
    finally:
        coming.cancel()


def _message(line: bytes) -> bytes:
    if line in (b"", ALONE, TOGETHER):
        return b"event: " + (line or b"live") + b"\ndata:\n\n"
    return b"data: " + line + b"\n\n"


@cache
def _policy(media_base: str) -> str:
    url = urlsplit(media_base)
    return POLICY.format(cdn=f" {url.scheme}://{url.netloc}" if media_base else "")


def _answer(request: web.Request, name: str) -> web.Response:
    file = page_files().get(name)
    if file is None:
        raise RequestError(404, f"There is no page file {name[:100]!r}.")
    is_packed = takes_gzip(request.headers)
    validators = Validators(file.etag + ("-gzip" if is_packed else ""), 0)
    body = file.packed if is_packed else file.body
    headers = {
        "Content-Security-Policy": _policy(get_context(request).settings.media_base),
        "Cache-Control": "no-cache",
        "ETag": f'"{validators.etag}"',
        "Vary": "Accept, Accept-Encoding",
    }
    if evaluate(request.headers, validators, len(body)).status == 304:
        return web.Response(status=304, headers=headers)
    headers |= {"Content-Type": file.content_type} | ({"Content-Encoding": "gzip"} if is_packed else {})
    return web.Response(body=body, headers=headers)

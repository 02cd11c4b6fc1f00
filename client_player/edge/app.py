"""The node's HTTP: what stock players ask for, what devices that lift by themselves do, what operators look at.

Below `/titles/ID/device/` is the origin's folder of a title as it is; beside it, what the node makes of the title.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from abr.core.enhancement import PLAIN
from abr.core.title import INIT_FILE, segment_file
from abr.errors import FormatError
from abr.protocols import cmcd
from abr.protocols.edge_api import ENHANCE_AT, EnhanceAt, EnhanceAtReply, EnhanceAtRequest, link_to
from abr.protocols.session_api import ENHANCER, RENDITION
from abr.records import dumps, loads
from client_player.edge.manifests import edge_manifest
from client_player.edge.metrics import CONTENT_TYPE
from client_player.edge.node import Node
from client_player.edge.origin.backhaul import OriginAwayError
from client_player.edge.site.peer_files import PATH
from client_player.edge.workshop import Workshop
from client_player.transport.http import DownloadError
from server.errors import RequestError
from server.http.file_response import finish, patience
from server.http.problems import respond
from server.ingest.manifests.title import MPD_FILE
from server.media.conditional_requests import Validators, evaluate
from server.media.media_file import content_type_of
from server.media.versions import split_version, version_folder
from server.rate_limits import RateLimits

SEND_MAX_S, SLOWEST_BYTES_PER_S = 30.0, 4096
"""A viewer who takes longer than that, and than so many bytes a second, is hung up on."""
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_VERSION = "v-[0-9a-f]{16}/"
_BRIEF, _MINUTE, _HOUR = "public, max-age=2", "public, max-age=60", "public, max-age=3600"
_NOT_KEPT = "no-store"
_KEPT = {"lifted": _HOUR, "plain": _MINUTE, "late": _NOT_KEPT}
"""A segment that came plain may be lifted for those who come later."""
FIXED_HEADERS = {
    "Server": "toprung",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag, Link, Toprung-Enhancer, Toprung-Rendition",
    "Timing-Allow-Origin": "*",
}
_REFUSALS = {
    412: "The file is another version than the one the request is conditional on.",
    416: "The range asked for lies behind the end of the file.",
}
_ALLOW_HEADERS = ", ".join((*cmcd.HEADERS, "Content-Type", "If-None-Match", "If-Range", "Range"))
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Allow-Headers": _ALLOW_HEADERS,
    "Access-Control-Max-Age": "86400",
}
"""Pages of other sites may ask for all that is here."""
_AGENT_MAX = 128
BODY_MAX_BYTES = 256 << 10
"""Of a request: a device profile takes a tenth of it."""
HUNG_UP = 499
"""How a viewer who went away is counted, as nginx does."""

log = logging.getLogger("toprung.edge")


def create_edge_app(node: Node, shop: Workshop, limits: RateLimits, *, has_peers: bool = False) -> web.Application:
    """The node's requests as an aiohttp application. has_peers: other nodes of the site may ask for files."""
    handlers = _Handlers(node, shop)
    app = web.Application(middlewares=[_guard(shop, limits)], client_max_size=BODY_MAX_BYTES)
    title = f"/titles/{{title:{_NAME}}}"
    for path, handler in (
        ("/healthz", handlers.health),
        ("/metrics", handlers.exposition),
        ("/titles", handlers.titles),
        (title + r"/device/{file:.+}", handlers.file),
        (title + r"/{file:manifest\.mpd|master\.m3u8|video\.m3u8}", handlers.manifest),
        (title + rf"/{{version:{_VERSION}}}edge/init.mp4", handlers.init),
        (title + rf"/{{version:{_VERSION}}}edge/{{number:[1-9][0-9]{{0,7}}}}.m4s", handlers.segment),
        (
            title + rf"/{{file:{_VERSION}((video|audio|subtitles|thumbnails)/.+|[^/]+\.m3u8|chapters\.json)}}",
            handlers.file,
        ),
    ):
        app.router.add_get(path, handler, allow_head=True)
    app.router.add_post(f"{title}/{ENHANCE_AT}", handlers.enhance_at)
    if has_peers:
        app.router.add_get(f"/{PATH}{{key:.+}}", handlers.kept, allow_head=False)
    app.on_response_prepare.append(_add_headers)
    return app


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(FIXED_HEADERS)


class _Handlers:
    def __init__(self, node: Node, shop: Workshop) -> None:
        self._node, self._shop = node, shop

    async def health(self, _request: web.Request) -> web.StreamResponse:
        """Liveness."""
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    async def exposition(self, _request: web.Request) -> web.StreamResponse:
        """Metrics."""
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": _NOT_KEPT}
        return web.Response(body=self._node.exposition(), headers=headers)

    async def titles(self, _request: web.Request) -> web.StreamResponse:
        """The origin's titles, at their places here."""
        lines = [
            {
                "id": line.id,
                "duration_s": line.duration_s,
                "manifest_url": f"/titles/{line.id}/manifest.mpd",
                "hls_url": f"/titles/{line.id}/master.m3u8",
            }
            for line in await self._node.titles.list()
        ]
        return web.Response(
            body=dumps({"titles": lines}), content_type="application/json", headers={"Cache-Control": _NOT_KEPT}
        )

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """What stock players begin with."""
        title, name = await self._node.titles.get(request.match_info["title"]), request.match_info["file"]
        body = edge_manifest(title.title, name)
        headers = {"Cache-Control": _BRIEF, "Link": link_to(f"/titles/{title.title.id}/{ENHANCE_AT}")}
        return await self._send(request, body, name, "manifest", headers)

    async def enhance_at(self, request: web.Request) -> web.StreamResponse:
        """Where a device is to have its pictures enhanced."""
        title_id = request.match_info["title"]
        try:
            asked = loads(await request.read(), EnhanceAtRequest, what="The request's body")
        except FormatError as error:
            raise RequestError(422, str(error)) from error
        place, reason = await self._node.enhance_at(title_id, asked)
        folder = "device/" if place is EnhanceAt.DEVICE else ""
        told = EnhanceAtReply(
            enhance_at=place, manifest_url=f"/titles/{title_id}/{folder}{MPD_FILE}", reason=f"{place}: {reason}"
        )
        return web.Response(body=dumps(told), content_type="application/json", headers={"Cache-Control": _NOT_KEPT})

    async def init(self, request: web.Request) -> web.StreamResponse:
        """The top rung's: its sample entry has the largest picture and level."""
        title = await self._node.titles.get(request.match_info["title"], _version(request))
        path = f"{version_folder(title.title.version)}video/{title.title.renditions[-1].id}/{INIT_FILE}"
        body = await self._node.file(title.title.id, path)
        return await self._send(request, body, INIT_FILE, "video", {"Cache-Control": _HOUR})

    async def segment(self, request: web.Request) -> web.StreamResponse:
        """A video segment, lifted if that can be had in time."""
        segment = int(request.match_info["number"]) - 1
        name, buffer_s = _viewer(request)
        answer = await self._node.segment(request.match_info["title"], _version(request), segment, name, buffer_s)
        headers = {
            "Cache-Control": _KEPT[answer.form],
            RENDITION: answer.choice.rendition,
            ENHANCER: answer.choice.enhancer if answer.form == "lifted" else PLAIN,
        }
        return await self._send(request, answer.body, segment_file(segment), answer.form, headers)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file as the origin has it: sound and subtitles, and below `device/` all that a device lifts with."""
        path = request.match_info["file"]
        body = await self._node.file(request.match_info["title"], path)
        kind = "sound" if "audio/" in path else "other"
        headers = {"Cache-Control": _HOUR if split_version(path)[0] else _BRIEF}
        return await self._send(request, body, split_version(path)[1], kind, headers)

    async def kept(self, request: web.Request) -> web.StreamResponse:
        """A file of the cache for another node of the site, as it lies there."""
        if (data := await self._shop.cache.packed(request.match_info["key"])) is None:
            raise RequestError(404, "This node does not have it.")
        return await self._send(request, data, "file.bin", "", {"Cache-Control": _NOT_KEPT})

    async def _send(
        self, request: web.Request, body: bytes, name: str, kind: str, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Answer GET or HEAD with these bytes or a part of them, to the last one. kind: as counted; empty: not."""
        validators = Validators(f"{len(body):x}-{zlib.crc32(body):08x}", 0)
        outcome = evaluate(request.headers, validators, len(body), in_parts=request.method == "GET")
        told = {"ETag": f'"{validators.etag}"', "Accept-Ranges": "bytes", **headers}
        if outcome.status in _REFUSALS:
            told |= {"Content-Range": f"bytes */{len(body)}"} if outcome.status == 416 else {}
            raise RequestError(outcome.status, _REFUSALS[outcome.status], told)
        if outcome.status == 206:
            end = outcome.offset + outcome.count - 1
            told["Content-Range"] = f"bytes {outcome.offset}-{end}/{len(body)}"
        if outcome.status == 304:
            return web.Response(status=304, headers=told)
        part = body[outcome.offset : outcome.offset + outcome.count]
        response = web.Response(
            status=outcome.status, headers={**told, "Content-Type": content_type_of(name)}, body=part
        )
        if request.method == "HEAD":
            return response
        async with patience(SEND_MAX_S + len(part) / SLOWEST_BYTES_PER_S):
            await finish(request, response)
        if kind:
            self._shop.metrics.served_bytes.labels(kind).inc(len(part))
        return response


def _guard(shop: Workshop, limits: RateLimits) -> Middleware:
    """Limits of one address, problems for errors, and counting."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        if not limits.admit_request(request.remote or ""):
            response = respond(429, "Too many requests; try again later.", {"Retry-After": "1"})
        elif request.method == "OPTIONS":
            response = web.Response(status=204, headers=_PREFLIGHT)
        else:
            response = await _answered(request, handler)
        shop.metrics.answers.labels(str(response.status)).inc()
        return response

    return guard


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's answer, or the problem that stands for what it raised."""
    try:
        return await handler(request)
    except RequestError as error:
        return respond(error.status, error.detail, error.headers)
    except web.HTTPException as error:
        kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return respond(error.status, error.reason, kept)
    except OriginAwayError as error:
        return respond(504, str(error), {"Retry-After": str(error.retry_after_s)})
    except DownloadError as error:
        gone = error.status in (404, 410)
        return respond(error.status if gone else 502, "The origin does not have it." if gone else str(error))
    except FormatError as error:
        return respond(502, f"What the origin sent cannot be used: {error}")
    except ConnectionError:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=HUNG_UP)  # nobody reads it
    except Exception as error:
        log.exception("unexpected %s", type(error).__name__)
        return respond(500, "Something broke on our side; it is in the log.")


def _version(request: web.Request) -> str:
    return request.match_info["version"][2:-1]


def _viewer(request: web.Request) -> tuple[str, float | None]:
    """Who asks, as far as can be told, and what the player says of its buffer, in seconds. Nonsense says nothing."""
    try:
        query = request.query.get(cmcd.QUERY, "")
        keys = cmcd.from_query(query) if query else cmcd.from_headers(request.headers)
    except FormatError:
        keys = {}
    buffer_ms, session = keys.get("bl"), keys.get("sid")
    name = str(session) if session else f"{request.remote} {request.headers.get('User-Agent', '')[:_AGENT_MAX]}"
    return name, buffer_ms / 1000 if isinstance(buffer_ms, int) and not keys.get("su") else None

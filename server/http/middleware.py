"""Around every request: problems for errors, CORS and security headers, the time limit, counting and the log line."""

from __future__ import annotations

import asyncio
import logging
import re
import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from abr.protocols.cmcd import HEADERS as CMCD_HEADERS
from abr.protocols.session_api import DECISION_HEADERS
from server.context import Context, get_context
from server.errors import RequestError
from server.http.file_response import sent_body_bytes
from server.http.openapi import Endpoint
from server.http.operator_auth import check_operator
from server.http.problems import respond
from server.sessions.session_ids import public_part
from server.sessions.store import StoreError
from server.settings import Settings

ALLOW_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
ALLOW_HEADERS = ", ".join(
    (*CMCD_HEADERS, *("Authorization", "Content-Type", "If-Modified-Since", "If-None-Match", "If-Range", "Range"))
)
EXPOSE_HEADERS = ", ".join(
    (
        *(
            "Accept-Ranges",
            "CMSD-Dynamic",
            "CMSD-Static",
            "Content-Length",
            "Content-Range",
            "Date",
            "ETag",
            "Location",
            "Server-Timing",
        ),
        *sorted(DECISION_HEADERS),
    )
)
PREFLIGHT_AGE_S = 86_400
_FIXED_HEADERS = {
    "Server": "toprung",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
    "Access-Control-Expose-Headers": EXPOSE_HEADERS,
}
_OWN_PAGES = re.compile(r"/+(?:devices|qoe|metrics|rate)(?:/.*)?", re.DOTALL)
"""What tells of all viewers, and where these say what they think: another site must neither read it through a
visitor's browser nor speak for the visitor."""
_OPEN_TO_OTHER_SITES = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Timing-Allow-Origin")
_ABOUT_BODIES = (
    "X-Content-Type-Options",
    "Content-Security-Policy",
    "Cross-Origin-Resource-Policy",
    "Access-Control-Expose-Headers",
)
_REPLACEABLE = ("Content-Security-Policy",)
"""Pages bring their own, which lets their own scripts run."""
_UNMATCHED = "unmatched"
HUNG_UP = 499
"""How a viewer who went away is counted, as nginx does."""

access = logging.getLogger("toprung.access")
log = logging.getLogger("toprung.server")


class RequestGuard:
    """The one middleware. `endpoints` tells the route's name, which bounds the labels, and whether it streams."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self._endpoints = {endpoint.handler: endpoint for endpoint in endpoints}

    def middleware(self) -> Middleware:
        """The guard in the form that aiohttp takes."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        return guard

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        context = get_context(request)
        endpoint = self._endpoints.get(request.match_info.handler)
        status, sent_bytes = HUNG_UP, 0
        try:
            response = await self._answered(request, handler, endpoint, context)
            status, sent_bytes = response.status, sent_body_bytes(request, response)
            return response
        finally:
            took_s = time.perf_counter() - started
            name = endpoint.name if endpoint else _UNMATCHED
            context.metrics.count_answer(_method(request), name, status, sent_bytes, took_s)
            access.info("request", extra=_line(request, name, status, sent_bytes, took_s))

    async def _answered(
        self, request: web.Request, handler: Handler, endpoint: Endpoint | None, context: Context
    ) -> web.StreamResponse:
        """The handler's answer, or the problem that stands for what it raised."""
        limit_s = None if endpoint is None or endpoint.streams else context.settings.request_timeout_s
        try:
            if request.method == "OPTIONS":
                return _preflight(request)
            if not context.limits.admit_request(request.remote or ""):
                raise RequestError(429, "Too many requests from this address; slow down.", {"Retry-After": "1"})
            if endpoint is not None and endpoint.operator:
                check_operator(request, context)
            async with asyncio.timeout(limit_s):
                return await handler(request)
        except RequestError as error:
            return respond(error.status, error.detail, error.headers)
        except web.HTTPException as error:
            kept = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
            return respond(error.status, _DETAILS.get(error.status, error.reason), kept)
        except StoreError as error:
            context.metrics.store_failures.inc()
            log.error("%s", error)
            return respond(503, "Sessions cannot be reached right now; try again.", {"Retry-After": "1"})
        except TimeoutError:
            if request.body_exists and not request.content.is_eof():
                answer = respond(408, f"The body had not come after {limit_s:.0f} s.")
                answer.force_close()
                return answer
            return respond(503, f"No answer within {limit_s:.0f} s; try again.", {"Retry-After": "1"})
        except ConnectionError as error:
            log.info("hung up: %s", error)
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=HUNG_UP)  # nobody reads it
        except Exception as error:
            log.exception("unexpected %s", type(error).__name__)
            return respond(500, "Something broke on our side; it is in the log.")


_DETAILS = {
    404: "There is nothing here; GET /openapi.json tells what there is.",
    405: "This method does not work here; the Allow header tells which do.",
    413: "The body is larger than this server takes.",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Goes with every answer, errors included; a signal, since media is on its way before the middleware sees it."""
    settings = get_context(request).settings
    fixed = redirect_headers(settings) if response.status == 307 else fixed_headers(settings)
    if _OWN_PAGES.fullmatch(request.path):
        fixed = {name: value for name, value in fixed.items() if name not in _OPEN_TO_OTHER_SITES}
        fixed["Cross-Origin-Resource-Policy"] = "same-origin"
    if "Vary" in fixed:
        fixed["Vary"] = ", ".join(filter(None, (fixed["Vary"], response.headers.get("Vary"))))
    own = {name: response.headers[name] for name in _REPLACEABLE if name in response.headers}
    response.headers.update(fixed | own)


def fixed_headers(settings: Settings) -> dict[str, str]:
    """The headers of every answer.

    Where a proxy may send files by itself, what it is told is not for caches to give to others, so answers vary.
    """
    names: tuple[str, ...] = ("Origin",) if settings.allow_origin != "*" else ()
    names += ("X-Accel-Location",) if settings.accel_location else ()
    varies = {"Vary": ", ".join(names)} if names else {}
    return _FIXED_HEADERS | {"Access-Control-Allow-Origin": settings.allow_origin} | varies


def redirect_headers(settings: Settings) -> dict[str, str]:
    """What of them a redirect to media needs: the others are about a body, or for scripts, which see none of it."""
    return {name: value for name, value in fixed_headers(settings).items() if name not in _ABOUT_BODIES}


def _preflight(request: web.Request) -> web.Response:
    """Answers every OPTIONS, known path or not. Other sites may ask for all but our own pages'."""
    refused = request.match_info.http_exception
    here = refused.allowed_methods if isinstance(refused, web.HTTPMethodNotAllowed) else ()
    allow = {"Allow": ", ".join(sorted({*here, "OPTIONS"}))}
    if _OWN_PAGES.fullmatch(request.path):
        return web.Response(status=204, headers=allow)
    headers = allow | {
        "Access-Control-Allow-Methods": ALLOW_METHODS,
        "Access-Control-Allow-Headers": ALLOW_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
    }
    return web.Response(status=204, headers=headers)


_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"))


def _method(request: web.Request) -> str:
    """Methods are invented freely by clients; labels are not."""
    return request.method if request.method in _METHODS else "other"


def _line(request: web.Request, route: str, status: int, sent_bytes: int, took_s: float) -> dict[str, object]:
    """Without query and session id, since knowing the id is the right to use the session."""
    title = request.match_info.get("title") or public_part(request.match_info.get("session", ""))
    return {
        "fields": {
            "method": _method(request),
            "route": route,
            "of": title[:64],
            "status": status,
            "bytes": sent_bytes,
            "ms": round(took_s * 1000, 2),
            "peer": request.remote or "",
        }
    }

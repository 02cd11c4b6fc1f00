"""Around every request: problems for errors, CORS and security headers, the time limit, counting and the log line."""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from abr.cmcd import HEADERS as CMCD_HEADERS
from server.context import Context, context
from server.exposition import session_shown
from server.media import sent_body_bytes
from server.openapi import Endpoint
from server.operator import check_operator
from server.problems import RequestError, respond
from server.store import StoreError

ALLOW_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
ALLOW_HEADERS = ", ".join((*CMCD_HEADERS, "Content-Type", "If-Modified-Since", "If-None-Match", "If-Range", "Range"))
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
        ),
        *("Toprung-Enhancer", "Toprung-Promised-VMAF", "Toprung-Reason", "Toprung-Rendition", "Toprung-Wait-S"),
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
_REPLACEABLE = ("Content-Security-Policy",)
"""Pages bring their own, which lets their own scripts run."""
_UNMATCHED = "unmatched"
HUNG_UP = 499
"""How a viewer who went away is counted, as nginx does."""

access = logging.getLogger("toprung.access")
log = logging.getLogger("toprung.server")


class Guard:
    """The one middleware. `endpoints` tells the route's name, which bounds the labels, and whether it streams."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self._endpoints = {endpoint.handler: endpoint for endpoint in endpoints}

    def middleware(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        return guard

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        use = context(request)
        endpoint = self._endpoints.get(request.match_info.handler)
        status, sent_bytes = HUNG_UP, 0
        try:
            response = await self._answered(request, handler, endpoint, use)
            status, sent_bytes = response.status, sent_body_bytes(request, response)
            return response
        finally:
            took_s = time.perf_counter() - started
            name = endpoint.name if endpoint else _UNMATCHED
            count(use, _method(request), name, status, sent_bytes, took_s)
            access.info("request", extra=_line(request, name, status, sent_bytes, took_s))

    async def _answered(
        self, request: web.Request, handler: Handler, endpoint: Endpoint | None, use: Context
    ) -> web.StreamResponse:
        """The handler's answer, or the problem that stands for what it raised."""
        limit_s = None if endpoint is None or endpoint.streams else use.settings.request_timeout_s
        try:
            if request.method == "OPTIONS":
                return _preflight(request)
            if not use.limits.request(request.remote or ""):
                raise RequestError(429, "Too many requests from this address; slow down.", {"Retry-After": "1"})
            if endpoint is not None and endpoint.operator:
                check_operator(request, use)
            async with asyncio.timeout(limit_s):
                return await handler(request)
        except RequestError as error:
            return respond(error.status, error.detail, error.headers)
        except web.HTTPException as error:
            kept = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
            return respond(error.status, _DETAILS.get(error.status, error.reason), kept)
        except StoreError as error:
            use.telemetry.store_failures.inc()
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


def count(use: Context, method: str, name: str, status: int, sent_bytes: int, took_s: float) -> None:
    """Counts one answer."""
    use.telemetry.answered(method, name, status, sent_bytes, took_s)


_DETAILS = {
    404: "There is nothing here; GET /openapi.json tells what there is.",
    405: "This method does not work here; the Allow header tells which do.",
    413: "The body is larger than this server takes.",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Goes with every answer, errors included; a signal, since media is on its way before the middleware sees it."""
    fixed = fixed_headers(context(request).settings.allow_origin)
    if "Vary" in fixed:
        fixed["Vary"] = ", ".join(filter(None, ("Origin", response.headers.get("Vary"))))
    own = {name: response.headers[name] for name in _REPLACEABLE if name in response.headers}
    response.headers.update(fixed | own)


def fixed_headers(allow_origin: str) -> dict[str, str]:
    """The headers of every answer."""
    varies = {} if allow_origin == "*" else {"Vary": "Origin"}
    return _FIXED_HEADERS | {"Access-Control-Allow-Origin": allow_origin} | varies


def _preflight(request: web.Request) -> web.Response:
    """Answers every OPTIONS, known path or not: what another site may ask does not depend on the path."""
    refused = request.match_info.http_exception
    here = refused.allowed_methods if isinstance(refused, web.HTTPMethodNotAllowed) else ()
    headers = {
        "Allow": ", ".join(sorted({*here, "OPTIONS"})),
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
    title = request.match_info.get("title") or session_shown(request.match_info.get("session", ""))
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

"""aiohttp's side of a connection: its request handler, and how far it is with what it was given."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from server.http.middleware import fixed_headers
from server.http.problems import respond
from server.settings import Settings

FOREVER_S = 1e9
"""aiohttp's own keep-alive timer does not know of the fast path; the listener closes idle connections instead."""
LINGER_S = 1.0
"""The rest of a body that nobody wants is read for this long, so that the answer gets through."""

_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r", re.I)
_CHUNKED = re.compile(rb"\n(?:transfer-encoding|upgrade|expect):", re.I)
_CLOSE = {"Connection": "close"}
_DETAILS = {
    400: "This is no HTTP that can be understood.",
    414: "The URL is too long.",
    431: "A header is too long.",
    504: "No answer in time.",
}


class AiohttpHandler(web.RequestHandler):
    """aiohttp's handler, whose own errors are problems too."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The problem that stands for what went wrong; the connection is closed after it."""
        if isinstance(exc, LineTooLong):
            status = 414 if _is_of_url(exc) else 431
        response = respond(status, _DETAILS.get(status, "Something broke on our side."), _CLOSE)
        response.headers.update(fixed_headers(Settings()))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that is damaged is no failure of ours, whether anybody wanted it or its answer is given already."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    @property
    def is_idle(self) -> bool:
        """Whether aiohttp waits for a request, by the sign that its own keep-alive timer goes by."""
        waiter = self._waiter
        return waiter is not None and not waiter.done()


def _is_of_url(error: LineTooLong) -> bool:
    """Aiohttp's parser tells of a URL by the text of a bytearray, of a header by that of bytes."""
    return str(error.args[0]).startswith("bytearray")


def make_handler(server: web.Server) -> AiohttpHandler:
    """One for each connection that has sent more than the fast path answers."""
    loop = asyncio.get_running_loop()
    return AiohttpHandler(server, loop=loop, access_log=None, keepalive_timeout=FOREVER_S, lingering_time=LINGER_S)  # type: ignore[arg-type]


def missing_bytes(before: int | None, data: bytes) -> int | None:
    """Bytes of the request under way that are still to come after `data`; `before`: before it.

    None when that cannot be told, and then for good: the head did not come in one piece with a plain length.
    """
    if before:
        return before - len(data) if len(data) <= before else None
    end = data.find(b"\r\n\r\n")
    if before is None or end < 0 or _CHUNKED.search(data, 0, end):
        return None
    lengths = _LENGTH.findall(data, 0, end + 2)
    if len(lengths) > 1:
        return None
    missing = end + 4 + (int(lengths[0]) if lengths else 0) - len(data)
    return missing if missing >= 0 else None

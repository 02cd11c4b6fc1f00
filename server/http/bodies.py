"""Reading the bodies of requests, and writing JSON."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from abr.errors import FormatError
from abr.records import dumps, loads
from server.context import get_context
from server.errors import RequestError
from server.http.openapi import JSON

T = TypeVar("T")


async def read_body(request: web.Request) -> bytes:
    """The request's body, unpacked; 400 when it cannot be, 429 when its sender has sent too much lately."""
    try:
        body = await request.read()
    except web.RequestPayloadError as error:
        raise _damaged() from error
    _admit(request, len(body))
    return body


async def read_exactly(request: web.Request, size_bytes: int, what: str) -> bytes:
    """A body of one size, however large; 400 when it is shorter, 413 when it is longer, 429 as above."""
    body = bytearray()
    try:
        async for piece in request.content.iter_chunked(_PIECE_BYTES):
            body += piece
            if len(body) > size_bytes:
                raise RequestError(413, f"The {what} is longer than {size_bytes} bytes.")
    except web.RequestPayloadError as error:
        raise _damaged() from error
    _admit(request, len(body))
    if len(body) < size_bytes:
        raise RequestError(400, f"The {what} has {len(body)} bytes; it should have {size_bytes}.")
    return bytes(body)


async def read_record(request: web.Request, kind: type[T], what: str) -> T:
    """The request's JSON body as `kind`; 415 when it is something else, 400 when it is not valid."""
    if request.content_type not in (JSON, "application/octet-stream"):  # the latter stands for an absent header
        raise RequestError(415, f"The {what} came as {request.content_type}; send it as {JSON}.")
    body = await read_body(request)
    try:
        return loads(body, kind, what=f"The {what}")
    except FormatError as error:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return msgspec.convert(_with_integers(msgspec.json.decode(body)), kind)
        raise RequestError(400, str(error)) from error


def json_answer(record: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer that nobody may keep."""
    fixed = {"Cache-Control": "no-store"} | (headers or {})
    return web.Response(status=status, body=dumps(record), content_type=JSON, headers=fixed)


_PIECE_BYTES = 64 << 10


def _damaged() -> RequestError:
    return RequestError(400, "The body is damaged, or not packed as its headers say.")


def _admit(request: web.Request, size_bytes: int) -> None:
    if not get_context(request).limits.admit_body(request.remote or "", size_bytes):
        raise RequestError(429, "Too many bytes were sent from this address; wait a little.", {"Retry-After": "1"})


def _with_integers(value: Any) -> Any:
    """1.0 becomes 1, everywhere in a decoded JSON value: to JSON Schema both are integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_integers(each) for each in value]
    return {name: _with_integers(each) for name, each in value.items()} if isinstance(value, dict) else value

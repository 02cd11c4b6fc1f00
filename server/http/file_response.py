"""A file as an HTTP answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from server.errors import RequestError
from server.media.conditional_requests import Evaluation, evaluate, takes_gzip
from server.media.media_file import MediaFile, headers_of
from server.media.title_cache import SLOWEST_BYTES_PER_S, TitleCache

SENT = web.ResponseKey("sent", int)
"""An answer whose length was not known before says how much was sent of it."""
_REFUSALS = {
    412: "The file is another version than the one the request is conditional on.",
    416: "The range asked for lies behind the end of the file.",
}


async def send(
    request: web.Request, title_cache: TitleCache, file: MediaFile, *, headers: Mapping[str, str], patience_s: float
) -> web.StreamResponse:
    """Answer GET or HEAD with a file, or a part of it, to the last byte. `headers` are added, or override.

    Whole text files are packed for who takes gzip.
    """
    body: bytes | None = None
    if file.is_text and takes_gzip(request.headers):
        file, body = await title_cache.packed(file) or (file, None)
    outcome = evaluate(request.headers, file.validators, file.size_bytes, in_parts=request.method == "GET")
    if outcome.status in _REFUSALS:
        whole = {"Content-Range": f"bytes */{file.size_bytes}"} if outcome.status == 416 else {}
        raise RequestError(outcome.status, _REFUSALS[outcome.status], {**headers, **whole})
    named = headers_of(file, outcome) | {**headers}
    if outcome.status == 304 or request.method == "HEAD" or outcome.count == 0:
        return await finish(request, web.StreamResponse(status=outcome.status, headers=named))
    async with patience(patience_s + outcome.count / SLOWEST_BYTES_PER_S):
        body = body if body is not None else await title_cache.body(file)
        if body is not None:
            part = body[outcome.offset : outcome.offset + outcome.count]
            return await finish(request, web.Response(status=outcome.status, headers=named, body=part))
        return await _send_file(
            request, web.StreamResponse(status=outcome.status, headers=named), title_cache, file, outcome
        )


def sent_body_bytes(request: web.Request, response: web.StreamResponse) -> int:
    """Body bytes of an answer that was sent whole (aiohttp's own count has the headers in it, and not sendfile's)."""
    return 0 if request.method == "HEAD" else response.get(SENT) or response.content_length or 0


async def finish(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Waits until the kernel takes the bytes: else a viewer who asks and never reads would fill our memory."""
    writer = await response.prepare(request)
    await response.write_eof()
    if writer is not None:
        await writer.drain()
    if request.transport is None:  # aiohttp ends the wait without a word
        raise ConnectionResetError("the viewer went away")
    return response


async def _send_file(
    request: web.Request,
    response: web.StreamResponse,
    title_cache: TitleCache,
    file: MediaFile,
    outcome: Evaluation,
) -> web.StreamResponse:
    opened = await title_cache.open_file(file)
    await response.prepare(request)
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError("the viewer went away")
    loop = asyncio.get_running_loop()
    sent = await loop.sendfile(request.transport, opened, outcome.offset, outcome.count)  # type: ignore[arg-type]
    if sent != outcome.count:
        raise ConnectionResetError(f"{file.path} ended after {sent} of {outcome.count} bytes")
    await response.write_eof()
    return response


@asynccontextmanager
async def patience(limit_s: float) -> AsyncIterator[None]:
    """Hangs up on a viewer who takes no bytes, so that the connection is not held for ever."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise ConnectionResetError(f"the viewer took more than {limit_s:.0f} s") from error

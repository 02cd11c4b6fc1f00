"""The door: takes connections in, gives each request to the fast lane or to aiohttp, and keeps abusers out."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from abr.errors import InputError
from server.context import CONTEXT, Context
from server.eager import Errand
from server.lane import Asked, Lane, read
from server.line import Line
from server.media import SLOWEST_BYTES_PER_S
from server.middleware import fixed_headers
from server.problems import raw, respond

SWEEP_S = 1.0
READ_BYTES = 64 << 10
FOREVER_S = 1e9
BACKLOG = 1024
LINGER_S = 1.0
"""The rest of a body that nobody wants is read for this long, so that the answer gets through."""
"""aiohttp's own keep-alive timer does not know of the fast lane; the sweep closes idle connections instead."""

_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r", re.I)
_CHUNKED = re.compile(rb"\n(?:transfer-encoding|upgrade|expect):", re.I)

log = logging.getLogger("toprung.door")


class Doorman:
    """Makes a Door for each connection, and closes those that idle."""

    def __init__(self, use: Context, server: web.Server) -> None:
        self.use = use
        self.lane = Lane(use)
        self.server = server
        self.doors: set[Door] = set()
        self.read = bytearray(READ_BYTES)

    def __call__(self) -> Door:
        return Door(self)

    def inner(self) -> web.RequestHandler:
        """aiohttp's side of a connection."""
        loop = asyncio.get_running_loop()
        return _Inner(self.server, loop=loop, access_log=None, keepalive_timeout=FOREVER_S, lingering_time=LINGER_S)  # type: ignore[arg-type]

    def patience_s(self, size_bytes: int) -> float:
        """How long a viewer may take for a body."""
        return self.use.settings.request_timeout_s + size_bytes / SLOWEST_BYTES_PER_S

    async def sweep(self) -> None:
        """Once a second, for as long as the server runs, turns out who only holds a connection."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = asyncio.get_running_loop().time()
            for door in tuple(self.doors):
                door.sweep(now_s)

    def refusal(self, status: int, detail: str) -> bytes:
        """The whole answer to who is turned away before there is a request."""
        headers = fixed_headers(self.use.settings.allow_origin) | {"Connection": "close"}
        return raw(respond(status, detail, headers))

    def close(self) -> None:
        """No viewer's next request is waited for."""
        for door in tuple(self.doors):
            door.leave()


class Door(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, doorman: Doorman) -> None:
        self._doorman = doorman
        self._transport: asyncio.Transport | None = None
        self._line: Line | None = None
        self._inner: web.RequestHandler | None = None
        self._errand: Errand | None = None
        self._asking = b""
        """The request that the errand is about."""
        self._held = b""
        self._owed: int | None = 0
        """Bytes of a request that aiohttp still lacks; None when that cannot be told, and then for good."""
        self._head_bytes = 0
        """Of a head that is not yet complete."""
        self._peer = ""
        self._made_s = 0.0
        self._heard_s = 0.0
        self._since_s = 0.0
        """When the viewer began to ask: since then it has been its turn."""
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        if not self._doorman.use.limits.connect(self._peer):
            self._refuse(503, "Too many connections; try again later.")
            return
        trusted = self._doorman.use.limits.trusts(self._peer)
        self._line = Line(transport, self._doorman.patience_s, trusted=trusted)
        self._made_s = self._since_s = self._heard_s = asyncio.get_running_loop().time()
        self._doorman.doors.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._line is not None:
            self._doorman.doors.discard(self)
            self._doorman.use.limits.disconnect(self._peer)
            self._line.release()
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> bytearray:
        """One for all connections: what lies in it is taken out at once."""
        return self._doorman.read

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(memoryview(self._doorman.read)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._line is None:  # turned away
            return
        self._heard_s = asyncio.get_running_loop().time()
        if self._errand is not None:
            self._held += data
            self._transport.pause_reading()
            return
        asked = read(data) if self._free() else None
        if asked is None or not self._doorman.use.limits.request(self._peer):
            self._pass_on(data)
        else:
            self._since_s = self._heard_s
            self._answer(asked, data)

    def _answer(self, asked: Asked, data: bytes) -> None:
        assert self._line is not None
        self._line.begun = False
        self._asking = data
        self._errand = Errand(self._doorman.lane.answer(asked, self._line), self._answered)
        self._errand.go_on()

    def _answered(self, error: BaseException | None) -> None:
        assert self._transport is not None
        self._errand = None
        asking, self._asking = self._asking, b""
        if error is not None:
            self._failed(error, asking)
        held, self._held = self._held, b""
        if self._transport.is_closing():
            return
        if self._leaving:
            self._transport.close()
        elif held:
            self._transport.resume_reading()
            self.data_received(held)

    def _failed(self, error: BaseException, asking: bytes) -> None:
        assert self._transport is not None
        assert self._line is not None
        if self._line.begun or isinstance(error, ConnectionError):
            log.info("hung up: %s", error)
            self._transport.abort()
        else:  # aiohttp's side meets it again, and answers it
            self._pass_on(asking)

    def _pass_on(self, data: bytes) -> None:
        if self._inner is None:
            assert self._transport is not None
            self._inner = self._doorman.inner()
            self._inner.connection_made(self._transport)
        within, idle = bool(self._owed), _idle(self._inner)
        self._owed = _owed(self._owed, data)
        self._inner.data_received(data)
        if within or not idle or not _idle(self._inner):
            self._since_s, self._head_bytes = self._heard_s, 0
        else:  # all of it was the beginning of a head
            self._since_s = self._since_s if self._head_bytes else self._heard_s
            self._head_bytes += len(data)
            if self._head_bytes > self._doorman.use.settings.head_bytes_max:
                self._refuse(431, "The head of this request is larger than this server takes.")

    def _free(self) -> bool:
        """Nothing is under way on aiohttp's side, and the viewer has taken all that was sent."""
        assert self._transport is not None
        if self._transport.get_write_buffer_size():
            return False
        return self._inner is None or (self._owed == 0 and _idle(self._inner))

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def eof_received(self) -> None:
        if self._inner is not None:
            self._inner.eof_received()

    def sweep(self, now_s: float) -> None:
        """Closes the connection of a viewer who has long been idle, takes no bytes, or never ends a request's head."""
        assert self._transport is not None
        settings, busy = self._doorman.use.settings, self._inner is not None and not _idle(self._inner)
        if self._errand is not None or busy:
            self._since_s = now_s
            return
        if self._transport.get_write_buffer_size():
            if now_s - self._heard_s > self._doorman.patience_s(self._transport.get_write_buffer_size()):
                self._transport.abort()
            return
        asking = self._owed != 0 or self._head_bytes or self._since_s == self._heard_s == self._made_s
        if asking and now_s - self._since_s > settings.header_timeout_s:
            self._refuse(408, "The head of the request took too long.")
        elif now_s - self._heard_s > settings.keepalive_timeout_s:
            self._transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        assert self._transport is not None
        self._transport.write(self._doorman.refusal(status, detail))
        self._transport.close()

    def leave(self) -> None:
        self._leaving = True
        if self._errand is None and self._inner is None and self._transport is not None:
            self._transport.close()


def _owed(before: int | None, data: bytes) -> int | None:
    """What is lacking of the request under way after `data`, when its head came in one piece with a plain length."""
    if before:
        return before - len(data) if len(data) <= before else None
    end = data.find(b"\r\n\r\n")
    if before is None or end < 0 or _CHUNKED.search(data, 0, end):
        return None
    lengths = _LENGTH.findall(data, 0, end + 2)
    if len(lengths) > 1:
        return None
    lacking = end + 4 + (int(lengths[0]) if lengths else 0) - len(data)
    return lacking if lacking >= 0 else None


def _idle(inner: web.RequestHandler) -> bool:
    """Whether aiohttp waits for a request, by the sign that its own keep-alive timer goes by."""
    waiter = inner._waiter
    return waiter is not None and not waiter.done()


class _Inner(web.RequestHandler):
    """aiohttp's handler, whose own errors are problems too."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        response = respond(status, _DETAILS.get(status, "Something broke on our side."), _CLOSE)
        response.headers.update(fixed_headers("*"))
        response.force_close()
        return response


_CLOSE = {"Connection": "close"}
_DETAILS = {400: "This is no HTTP that can be understood.", 504: "No answer in time."}


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, shared_port: bool = False) -> AsyncIterator[int]:
    """Serves `app` behind a door; yields the port. Raises InputError when it cannot listen there."""
    use = app[CONTEXT]
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=use.settings.shutdown_timeout_s, keepalive_timeout=FOREVER_S
    )
    await runner.setup()
    assert runner.server is not None
    doorman = Doorman(use, runner.server)
    try:
        try:
            listener = await asyncio.get_running_loop().create_server(
                doorman, host, port, backlog=BACKLOG, reuse_port=shared_port or None
            )
        except OSError as error:
            raise InputError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
        sweeping = asyncio.create_task(doorman.sweep())
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            sweeping.cancel()
            doorman.close()
    finally:
        await runner.cleanup()

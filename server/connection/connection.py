"""One connection: each request goes to the fast path or to aiohttp, and a peer that only holds it is turned out."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from aiohttp import web

from server.connection.aiohttp_handler import AiohttpHandler, make_handler, missing_bytes
from server.connection.eager_coroutine import EagerCoroutine
from server.connection.fast_request import FastRequest, read_fast_request
from server.connection.socket_writer import SocketWriter
from server.rate_limits import RateLimits
from server.settings import Settings

log = logging.getLogger("toprung.connection")


class FastAnswers(Protocol):
    """Answers requests without aiohttp (`server.connection.fast_path`)."""

    async def answer(self, request: FastRequest, writer: SocketWriter) -> None:
        """Raises, before it has sent anything, for all that aiohttp must say."""
        ...


class ConnectionOwner(Protocol):
    """What a connection needs of the listener that took it in."""

    settings: Settings
    limits: RateLimits
    fast_path: FastAnswers | None
    aiohttp_server: web.Server
    connections: set[Connection]

    def send_timeout_s(self, size_bytes: int) -> float:
        """How long a viewer may take for so many bytes."""
        ...

    def refusal(self, status: int, detail: str) -> bytes:
        """The whole answer to who is turned away."""
        ...


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._writer: SocketWriter | None = None
        self._handler: AiohttpHandler | None = None
        self._answering: EagerCoroutine | None = None
        self._request = b""
        """The one that the fast path is answering."""
        self._unread = b""
        """What came meanwhile."""
        self._missing_bytes: int | None = 0
        """Bytes of a request that aiohttp still lacks; None when that cannot be told, and then for good."""
        self._head_bytes = 0
        """Of a head that is not yet complete."""
        self._peer = ""
        self._opened_s = 0.0
        self._received_s = 0.0
        """When bytes came last."""
        self._request_began_s = 0.0
        """When the viewer began to send its request: since then it has been its turn."""
        self._is_leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or turn it away where there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        if not self._owner.limits.admit_connection(self._peer):
            self._refuse(503, "Too many connections; try again later.")
            return
        is_trusted = self._owner.limits.is_trusted(self._peer)
        self._writer = SocketWriter(transport, self._owner.send_timeout_s, is_trusted=is_trusted)
        self._opened_s = self._request_began_s = self._received_s = asyncio.get_running_loop().time()
        self._owner.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out, and tell whoever was answering."""
        if self._writer is not None:
            self._owner.connections.discard(self)
            self._owner.limits.release_connection(self._peer)
            self._writer.release()
        if self._handler is not None:
            self._handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        assert self._transport is not None
        if self._writer is None:  # turned away
            return
        self._received_s = asyncio.get_running_loop().time()
        if self._answering is not None:
            self._unread += data
            self._transport.pause_reading()
            return
        fast_path = self._owner.fast_path
        request = read_fast_request(data) if fast_path is not None and self._is_free() else None
        if fast_path is None or request is None or not self._owner.limits.admit_request(self._peer):
            self._pass_on(data)
        else:
            self._request_began_s = self._received_s
            self._answer(fast_path, request, data)

    def _answer(self, fast_path: FastAnswers, request: FastRequest, data: bytes) -> None:
        assert self._writer is not None
        self._writer.has_begun = False
        self._request = data
        self._answering = EagerCoroutine(fast_path.answer(request, self._writer), self._end_answer)
        self._answering.advance()

    def _end_answer(self, error: BaseException | None) -> None:
        assert self._transport is not None
        self._answering = None
        request, self._request = self._request, b""
        if error is not None:
            self._handle_failure(error, request)
        unread, self._unread = self._unread, b""
        if self._transport.is_closing():
            return
        if self._is_leaving:
            self._transport.close()
        elif unread:
            self._transport.resume_reading()
            self.data_received(unread)

    def _handle_failure(self, error: BaseException, request: bytes) -> None:
        assert self._transport is not None
        assert self._writer is not None
        if self._writer.has_begun or isinstance(error, ConnectionError):
            log.info("hung up: %s", error)
            self._transport.abort()
        else:  # aiohttp's side meets the same failure, and answers it
            self._pass_on(request)

    def _pass_on(self, data: bytes) -> None:
        """Gives `data` to aiohttp, and notes whether all of it was the beginning of a head."""
        if self._handler is None:
            assert self._transport is not None
            self._handler = make_handler(self._owner.aiohttp_server)
            self._handler.connection_made(self._transport)
        is_within, was_idle = bool(self._missing_bytes), self._handler.is_idle
        self._missing_bytes = missing_bytes(self._missing_bytes, data)
        self._handler.data_received(data)
        if is_within or not was_idle or not self._handler.is_idle:
            self._request_began_s, self._head_bytes = self._received_s, 0
        else:
            self._request_began_s = self._request_began_s if self._head_bytes else self._received_s
            self._head_bytes += len(data)
            if self._head_bytes > self._owner.settings.head_bytes_max:
                self._refuse(431, "The head of this request is larger than this server takes.")

    def _is_free(self) -> bool:
        """Nothing is under way on aiohttp's side, and the viewer has taken all that was sent."""
        assert self._transport is not None
        if self._transport.get_write_buffer_size():
            return False
        return self._handler is None or (self._missing_bytes == 0 and self._handler.is_idle)

    def pause_writing(self) -> None:
        """The peer takes no more for now."""
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """The peer takes more again."""
        if self._handler is not None:
            self._handler.resume_writing()

    def eof_received(self) -> None:
        """The peer sends nothing more."""
        if self._handler is not None:
            self._handler.eof_received()

    def close_if_stalled(self, now_s: float) -> None:
        """Closes the connection of a viewer who has long been idle, takes no bytes, or never ends a request's head."""
        assert self._transport is not None
        settings, is_busy = self._owner.settings, self._handler is not None and not self._handler.is_idle
        if self._answering is not None or is_busy:
            self._request_began_s = now_s
            return
        if unsent_bytes := self._transport.get_write_buffer_size():
            if now_s - self._received_s > self._owner.send_timeout_s(unsent_bytes):
                self._transport.abort()
            return
        is_new = self._request_began_s == self._received_s == self._opened_s
        is_sending = self._missing_bytes != 0 or self._head_bytes or is_new
        if is_sending and now_s - self._request_began_s > settings.header_timeout_s:
            self._refuse(408, "The head of the request took too long.")
        elif now_s - self._received_s > settings.keepalive_timeout_s:
            self._transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        assert self._transport is not None
        self._transport.write(self._owner.refusal(status, detail))
        self._transport.close()

    def close_when_answered(self) -> None:
        """The server stops: no next request is waited for. What is still in asyncio's buffer is sent nevertheless."""
        self._is_leaving = True
        is_idle = self._answering is None and (self._handler is None or self._handler.is_idle)
        if is_idle and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """The server stops, and has waited long enough."""
        if self._transport is not None:
            self._transport.abort()

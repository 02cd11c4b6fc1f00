"""The listening socket: takes connections in, bounds them, and closes those that idle."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from abr.errors import InputError
from server.connection.aiohttp_handler import FOREVER_S
from server.connection.connection import Connection, FastAnswers
from server.http.problems import raw, respond
from server.media.title_cache import SLOWEST_BYTES_PER_S
from server.rate_limits import RateLimits
from server.settings import Settings

SWEEP_S = 1.0
DRAIN_CHECK_S = 0.02
SHORTAGE_SAID_EVERY_S = 10.0
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
BACKLOG = 1024

log = logging.getLogger("toprung.connection")


class Listener:
    """Makes a Connection for each that is accepted, and closes those that idle.

    headers: of each refusal. make_room: frees what descriptors it can.
    """

    def __init__(
        self,
        settings: Settings,
        limits: RateLimits,
        aiohttp_server: web.Server,
        *,
        fast_path: FastAnswers | None = None,
        headers: Mapping[str, str],
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings, self.limits, self.fast_path = settings, limits, fast_path
        self.aiohttp_server, self._headers, self.make_room = aiohttp_server, headers, make_room
        self.connections: set[Connection] = set()

    def __call__(self) -> Connection:
        """A protocol for a new connection, as asyncio asks for it."""
        return Connection(self)

    def send_timeout_s(self, size_bytes: int) -> float:
        """How long a viewer may take for a body."""
        return self.settings.request_timeout_s + size_bytes / SLOWEST_BYTES_PER_S

    def refusal(self, status: int, detail: str) -> bytes:
        """The whole answer to who is turned away before there is a request."""
        return raw(respond(status, detail, {**self._headers, "Connection": "close"}))

    async def sweep(self) -> None:
        """Once a second, for as long as the server runs, turns out who only holds a connection."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = asyncio.get_running_loop().time()
            for connection in tuple(self.connections):
                connection.close_if_stalled(now_s)

    async def drain(self) -> None:
        """Lets answers under way end, for as long as the settings say; no viewer's next request is waited for."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self.settings.shutdown_timeout_s
        while self.connections and loop.time() < end_s:
            for connection in tuple(self.connections):
                connection.close_when_answered()
            await asyncio.sleep(min(DRAIN_CHECK_S, self.settings.shutdown_timeout_s))
        for connection in tuple(self.connections):
            connection.abort()


class ShortageHandler:
    """The event loop's exception handler: connections that cannot be accepted are one line of log, not thousands.

    asyncio tells of each try to accept, a thousand times a second (loop.create_server, `backlog`).
    """

    def __init__(self, make_room: Callable[[], None]) -> None:
        """make_room: frees what descriptors it can; asyncio tries again a second later."""
        self._make_room = make_room
        self._said_s = -SHORTAGE_SAID_EVERY_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """As asyncio calls it."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _SHORTAGES:
            loop.default_exception_handler(context)
            return
        self._make_room()
        if loop.time() - self._said_s >= SHORTAGE_SAID_EVERY_S:
            self._said_s = loop.time()
            log.error("no connection can be accepted: %s; raise the limit of open files (ulimit -n)", error.strerror)


@asynccontextmanager
async def accepting(
    app: web.Application,
    host: str,
    port: int,
    make_listener: Callable[[web.Server], Listener],
    *,
    shutdown_timeout_s: float,
    shared_port: bool = False,
) -> AsyncIterator[int]:
    """Serves `app`; yields the port. make_listener: is called when the application has started.

    Raises InputError when it cannot listen there.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_timeout_s, keepalive_timeout=FOREVER_S)
    listener: Listener | None = None

    async def drain(_app: web.Application) -> None:
        if listener is not None:
            await listener.drain()

    app.on_shutdown.append(drain)  # after the watchers were let go, before the store is closed
    await runner.setup()
    assert runner.server is not None
    listener = make_listener(runner.server)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(ShortageHandler(listener.make_room))
    try:
        try:
            server = await loop.create_server(listener, host, port, backlog=BACKLOG, reuse_port=shared_port or None)
        except OSError as error:
            raise InputError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
        sweeping = asyncio.create_task(listener.sweep())
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            sweeping.cancel()
    finally:
        await runner.cleanup()
        loop.set_exception_handler(None)

"""The proxy: TCP connections to an upstream server, their answers squeezed through one shared link.

Latency is what lies between a request and its first byte, so requests are held back for it; answers then flow at the
link's pace. Connections share the link in turns, as flows of equal round trip do. Uploads are delayed, not shaped.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from abr.errors import InputError
from abr.simulation.traces import Trace
from client_player.emulate.link import Flow, Link, share_link

TICK_S = 0.001
"""Bytes leave at most this often; an event loop sleeps no finer."""
AHEAD_S, AHEAD_MIN_BYTES = 0.1, 32 << 10
"""A connection may have this much time's worth (at least so many bytes) waiting at the link; then the upstream server
feels the bottleneck, as it would behind a real one."""
READ_BYTES = 16 << 10
UNREAD_MAX_BYTES = 256 << 10
"""A player who leaves so much unread is waited for."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Connection(Flow):
    """A player's connection: the flow of its answers, and where they go."""

    player: asyncio.StreamWriter
    space: asyncio.Event = field(default_factory=asyncio.Event)


class Emulator:
    """Everything that comes from `host`:`port` passes one link. The trace begins with the first connection."""

    def __init__(self, trace: Trace, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._loop = asyncio.get_running_loop()
        self._link = Link(trace=trace)
        self._flows: deque[_Connection] = deque()
        self._has_bytes = asyncio.Event()
        self._epoch_s: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def epoch_s(self) -> float:
        """The event loop's time at the trace's instant 0."""
        if self._epoch_s is None:
            self._epoch_s = self._loop.time()
        return self._epoch_s

    def now_s(self) -> float:
        """Trace time."""
        return self._loop.time() - self.epoch_s

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a player to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.now_s()
        connection = _Connection(player=writer)
        self._flows.append(connection)
        try:
            from_server, to_server = await self._connect_upstream()
            requests = asyncio.create_task(self._forward_requests(reader, to_server))
            try:
                await self._queue_answers(from_server, connection)
            finally:
                requests.cancel()
                to_server.close()
        except (OSError, asyncio.CancelledError):
            pass  # either side hung up, or `close` does: asyncio's streams would report a cancelled task as a fault
        finally:
            self._flows.remove(connection)
            writer.close()
            self._tasks.discard(task)

    async def _connect_upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """With a small window: else the kernel would take from the server at once what the link has not carried."""
        last: OSError | None = None
        for family, kind, protocol, _, address in await self._loop.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        ):
            connected = socket.socket(family, kind, protocol)
            connected.setblocking(False)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, AHEAD_MIN_BYTES)
            try:
                await self._loop.sock_connect(connected, address)
                return await asyncio.open_connection(sock=connected, limit=READ_BYTES)
            except OSError as error:
                connected.close()
                last = error
        raise last or OSError(f"{self._host} has no address")

    async def _forward_requests(self, player: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        """Pass on what the player sends, each piece the trace's latency after it came."""
        delayed: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)

        async def listen() -> None:
            while True:
                try:
                    piece = await player.read(READ_BYTES)
                except ConnectionError:
                    piece = b""
                now_s = self.now_s()
                await delayed.put((now_s + self._link.trace.latency_at(now_s), piece))
                if not piece:
                    return

        listening = asyncio.create_task(listen())
        try:
            while True:
                due_s, piece = await delayed.get()
                await asyncio.sleep(max(0.0, due_s - self.now_s()))
                if not piece:
                    if server.can_write_eof():
                        server.write_eof()
                    return
                server.write(piece)
                await server.drain()
        finally:
            listening.cancel()

    async def _queue_answers(self, server: asyncio.StreamReader, connection: _Connection) -> None:
        """Queue what the server sends; returns when it has ended and all of it has left."""
        while piece := await server.read(READ_BYTES):
            self.offer(connection, piece)
            while len(connection.waiting) >= self._ahead_max_bytes():
                await self._wait_for_space(connection)
        while connection.waiting:
            await self._wait_for_space(connection)
        with suppress(ConnectionError):
            await connection.player.drain()

    async def _wait_for_space(self, connection: _Connection) -> None:
        """Returns when some of what waits has left. Raises ConnectionResetError when the player is gone."""
        if connection.player.is_closing():
            raise ConnectionResetError("the player hung up")
        connection.space.clear()
        await connection.space.wait()

    def _ahead_max_bytes(self) -> int:
        now_s = self.now_s()
        return max(AHEAD_MIN_BYTES, int(self._link.trace.bytes_between(now_s, now_s + AHEAD_S)))

    def offer(self, connection: _Connection, piece: bytes) -> None:
        """These bytes have reached the link."""
        if not any(flow.waiting for flow in self._flows):
            self._link.wake(self.now_s())
            self._has_bytes.set()
        connection.waiting += piece

    async def carry(self) -> None:
        """Move bytes for ever."""
        while True:
            await self._has_bytes.wait()
            self._move()
            if any(flow.waiting for flow in self._flows):
                now_s = self.now_s()
                await asyncio.sleep(max(TICK_S, self._link.next_s() - now_s))
            else:
                self._has_bytes.clear()

    def _move(self) -> None:
        """Let go what the link has carried by now."""
        for flow in self._flows:
            flow.blocked = _count_unread(flow) > UNREAD_MAX_BYTES
        now_s, waiting = self.now_s(), sum(len(flow.waiting) for flow in self._flows if not flow.blocked)
        if not waiting:
            self._link.wake(now_s)
            return
        for flow, piece in share_link(self._flows, self._link.take(now_s, waiting)):
            if not flow.player.is_closing():
                flow.player.write(piece)
            flow.space.set()

    async def close(self) -> None:
        """Hang up on everybody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _count_unread(connection: _Connection) -> int:
    return 0 if connection.player.is_closing() else connection.player.transport.get_write_buffer_size()


@dataclass(frozen=True, slots=True)
class Emulated:
    """A running emulator; `url` is what players ask instead of the upstream's."""

    url: str
    emulator: Emulator


@asynccontextmanager
async def emulating(trace: Trace, upstream: str, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Emulated]:
    """Serve `upstream` (http://host:port) through `trace` while the context lasts. Raises InputError."""
    target = urlsplit(upstream)
    if target.scheme != "http" or not target.hostname:
        raise InputError(f"The upstream is {upstream!r}; give an http:// URL, such as http://127.0.0.1:8080/.")
    emulator = Emulator(trace, target.hostname, target.port or 80)
    try:
        server = await asyncio.start_server(emulator.connect, host, port, limit=READ_BYTES)
    except OSError as error:
        raise InputError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    carrier = asyncio.create_task(emulator.carry())
    try:
        chosen = server.sockets[0].getsockname()[1]
        yield Emulated(f"http://{f'[{host}]' if ':' in host else host}:{chosen}/", emulator)
    finally:
        server.close()
        carrier.cancel()
        await emulator.close()

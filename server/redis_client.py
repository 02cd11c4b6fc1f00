"""One connection to Redis for all that a process asks of it: what is asked in one turn of the loop goes out together.

The protocol is hiredis' to pack and parse; here are the order of replies, time limits and coming back after a failure.
(redis-py's asyncio client costs about 150 µs of processor a command, which is more than a decision.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import hiredis

from server.redis_url import read_redis_url

RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between attempts to connect; the last one again and again."""
WAITING_MAX = 4096
"""Commands that may wait for replies; more are refused."""

Argument = str | bytes | int


class RedisClient:
    """Raises InputError for a URL that cannot be read, ConnectionError at once while Redis is away.

    Raises TimeoutError when it does not answer in `timeout_s`.
    """

    def __init__(self, url: str, *, timeout_s: float, connect_timeout_s: float = 2.0) -> None:
        self._where = read_redis_url(url)
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._link: _RedisProtocol | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tried: asyncio.Future[None] | None = None
        """Done when the first attempt to connect is over: nobody waits for later ones."""
        self._patience_s = connect_timeout_s
        self._why = "no connection"

    @property
    def is_up(self) -> bool:
        """Whether Redis is connected."""
        return self._link is not None and self._link.open

    async def execute(self, *arguments: Argument) -> Any:
        """The reply to one command. Raises hiredis.ReplyError for an error that Redis tells."""
        link = self._link
        if link is None or not link.open:
            link = await self._connected()
        return await link.execute(arguments, self._timeout_s)

    async def close(self) -> None:
        """Hang up; what still waits for an answer fails."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.drop(ConnectionError("closed"))

    async def _connected(self) -> _RedisProtocol:
        """Waits for the first attempt only: later ones go on in the background, and who asks meanwhile is told no."""
        if self._connecting is None or self._connecting.done():
            loop = asyncio.get_running_loop()
            self._tried = loop.create_future()
            self._connecting = loop.create_task(self._connect(self._tried))
        if self._tried is not None:
            await asyncio.wait([self._tried], timeout=self._patience_s)
        if self._link is None or not self._link.open:
            raise ConnectionError(self._why)
        return self._link

    async def _connect(self, tried: asyncio.Future[None]) -> None:
        for attempt in range(1 << 30):
            try:
                async with asyncio.timeout(self._connect_timeout_s):
                    self._link = await self._dial()
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                self._why = str(error) or type(error).__name__
            if not tried.done():
                tried.set_result(None)
            if self.is_up:
                self._patience_s = self._timeout_s
                return
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])

    async def _dial(self) -> _RedisProtocol:
        loop, where = asyncio.get_running_loop(), self._where
        if where.path:
            _, link = await loop.create_unix_connection(_RedisProtocol, where.path)
        else:
            _, link = await loop.create_connection(_RedisProtocol, where.host, where.port, ssl=where.tls)
        if where.password:
            name = [where.username] if where.username else []
            await link.execute(("AUTH", *name, where.password), self._connect_timeout_s)
        if where.db:
            await link.execute(("SELECT", where.db), self._connect_timeout_s)
        if where.client_name:
            await link.execute(("CLIENT", "SETNAME", where.client_name), self._connect_timeout_s)
        await link.execute(("PING",), self._connect_timeout_s)
        return link


class _RedisProtocol(asyncio.Protocol):
    """Replies come in the order in which commands went."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Any], float, float]] = deque()
        """Who waits for a reply, until when, and for how long in all."""
        self._patience: asyncio.TimerHandle | None = None
        """Ends when the first of them has waited too long: a timer for each would cost as much as its command."""
        self._packed: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop(exc or ConnectionError("Redis hung up"))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                waiting, *_ = self._waiting.popleft()
                if waiting.done():
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    waiting.set_exception(reply)
                else:
                    waiting.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.drop(ConnectionError(f"what Redis says makes no sense ({error})"))

    async def execute(self, arguments: tuple[Argument, ...], timeout_s: float) -> Any:
        if self._transport is None:
            raise ConnectionError("no connection")
        if len(self._waiting) >= WAITING_MAX:
            raise ConnectionError("too many commands wait for a reply")
        loop = asyncio.get_running_loop()
        if not self._packed:
            loop.call_soon(self._flush)
        self._packed.append(hiredis.pack_command(arguments))  # type: ignore[arg-type]
        reply: asyncio.Future[Any] = loop.create_future()
        late_s = loop.time() + timeout_s
        self._waiting.append((reply, late_s, timeout_s))
        if self._patience is None or late_s < self._patience.when():
            self._wait_until(late_s)
        return await reply

    def _wait_until(self, late_s: float) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_at(late_s, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        if not self._waiting:
            return
        _, late_s, timeout_s = self._waiting[0]
        if late_s <= asyncio.get_running_loop().time():
            self.drop(TimeoutError(f"no reply within {timeout_s} s"))
        else:
            self._wait_until(late_s)

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._packed))
        self._packed.clear()

    def drop(self, error: BaseException) -> None:
        """Ends the connection and all who wait on it."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        while self._waiting:
            waiting, *_ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)

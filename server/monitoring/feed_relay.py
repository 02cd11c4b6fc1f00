"""Events between the feeds of all processes that share a store: one bounded stream in Redis (or Valkey).

What one process publishes goes out in one entry a tick. What others published is read only while somebody watches
here, so that a server without watchers pays one short command every quarter of a second. While Redis is away each feed
goes on alone, says so to its watchers, and sends later what it has kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hiredis
import msgspec

from server.concurrency.background import in_background
from server.monitoring.event_feed import EventFeed
from server.redis_client import RedisClient

KEY = "toprung:feed"
TICK_S = 0.25
ENTRIES_MAX = 256
"""About what is kept in Redis: the newest, each of at most OUTBOX_BYTES_MAX bytes (server.monitoring.event_feed)."""
KEPT_S = 3600
READ_MAX = 32
"""Entries read in one turn."""
FIELDS = 4
"""Of an entry: two names, each with its value."""


@asynccontextmanager
async def relaying(url: str, feed: EventFeed, *, timeout_s: float) -> AsyncIterator[None]:
    """Connects `feed` with those of all who share the store at `url`, until the block ends."""
    redis = RedisClient(url, timeout_s=timeout_s)
    try:
        async with in_background(_Relay(redis, feed).run()):
            yield
    finally:
        await redis.close()


class _Relay:
    def __init__(self, redis: RedisClient, feed: EventFeed) -> None:
        self._redis = redis
        self._feed = feed
        self._name = secrets.token_hex(8).encode()
        self._last = b"0"
        """The newest entry that was read."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._send()
                if self._feed.has_watchers:
                    await self._receive()
            except (hiredis.HiredisError, OSError, TimeoutError, msgspec.DecodeError):
                self._feed.set_alone(True)

    async def _send(self) -> None:
        lines = self._feed.outbox
        if not lines:
            return
        sent, body = lines.added, b"\n".join(lines)
        await self._redis.execute("XADD", KEY, "MAXLEN", "~", ENTRIES_MAX, "*", "from", self._name, "lines", body)
        await self._redis.execute("EXPIRE", KEY, KEPT_S)
        lines.drop_until(sent)

    async def _receive(self) -> None:
        """Reads to the end, in turns short enough for who waits."""
        while True:
            reply = await self._redis.execute("XREAD", "COUNT", READ_MAX, "STREAMS", KEY, self._last)
            self._feed.set_alone(False)
            entries = reply[0][1] if reply else []
            for number, fields in entries:
                self._last = number
                _, name, _, lines = fields if len(fields) == FIELDS else (b"", self._name, b"", b"")
                if name != self._name:
                    self._feed.receive(lines.split(b"\n"))
                    await asyncio.sleep(0)
            if len(entries) < READ_MAX:
                return

"""Events between the feeds of all processes that share a store: one bounded stream in Redis (or Valkey).

What is told in one process goes out in one entry a tick. What others told is read only while somebody watches here, so
that a server without watchers pays one short command every quarter of a second. While Redis is away each feed goes on
alone, says so to its watchers, and hands in later what it has kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import hiredis
import msgspec

from server.feed import Feed
from server.redis_line import RedisLine

KEY = "toprung:feed"
TICK_S = 0.25
ENTRIES_MAX = 512
"""About what is kept in Redis: the newest, each with at most as many lines as a feed keeps for its fellows."""
KEPT_S = 3600
READ_MAX = 32
"""Entries read in one turn."""


@asynccontextmanager
async def relaying(url: str, feed: Feed, *, timeout_s: float) -> AsyncIterator[None]:
    """Connects `feed` with those of all who share the store at `url`, until the block ends."""
    line = RedisLine(url, timeout_s=timeout_s)
    feed.has_fellows = True
    task = asyncio.create_task(_Relay(line, feed).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await line.close()


class _Relay:
    def __init__(self, line: RedisLine, feed: Feed) -> None:
        self._line = line
        self._feed = feed
        self._name = secrets.token_hex(8).encode()
        self._last = b"0"
        """The newest entry that was read."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._tell()
                if self._feed.watched:
                    await self._hear()
            except (hiredis.HiredisError, OSError, TimeoutError, msgspec.DecodeError):
                self._feed.be_alone(True)

    async def _tell(self) -> None:
        lines = self._feed.to_fellows
        if not lines:
            return
        count, told = len(lines), b"\n".join(lines)
        await self._line.ask("XADD", KEY, "MAXLEN", "~", ENTRIES_MAX, "*", "from", self._name, "lines", told)
        await self._line.ask("EXPIRE", KEY, KEPT_S)
        for _ in range(count):
            lines.popleft()

    async def _hear(self) -> None:
        """Reads to the end, in turns short enough for who waits."""
        while True:
            reply = await self._line.ask("XREAD", "COUNT", READ_MAX, "STREAMS", KEY, self._last)
            self._feed.be_alone(False)
            entries = reply[0][1] if reply else []
            for number, (_, name, _, lines) in entries:
                self._last = number
                if name != self._name:
                    self._feed.hear(lines.split(b"\n"))
                    await asyncio.sleep(0)
            if len(entries) < READ_MAX:
                return

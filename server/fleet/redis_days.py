"""Days of the fleet in Redis (or Valkey): a hash a day, which all workers and servers add to."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import hiredis

from server.fleet.tally import DAYS, Cells
from server.redis_client import Argument, RedisClient
from server.redis_url import without_password
from server.sessions.store import StoreError

# KEYS: the day. ARGV: its time to live in s, then cell and count by turns.
_ADD = """
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""


class RedisDays:
    """See DayStore."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._redis = RedisClient(url, timeout_s=timeout_s)

    async def add(self, day: int, cells: Cells) -> None:
        """See DayStore."""
        told = [part for cell, count in cells.items() for part in (cell, count)]
        await self._execute("EVAL", _ADD, 1, _key(day), (DAYS + 1) * 86_400, *told)

    async def since(self, day: int, days: int) -> Cells:
        """See DayStore."""
        total: Counter[str] = Counter()
        for each in range(day - days + 1, day + 1):
            reply = cast(list[bytes], await self._execute("HGETALL", _key(each)))
            total.update({cell.decode(): int(count) for cell, count in zip(reply[::2], reply[1::2], strict=True)})
        return total

    async def close(self) -> None:
        """See DayStore."""
        await self._redis.close()

    async def _execute(self, *arguments: Argument) -> Any:
        try:
            return await self._redis.execute(*arguments)
        except (hiredis.HiredisError, OSError, TimeoutError) as error:
            raise StoreError(f"Redis at {without_password(self._url)} does not answer ({error}).") from error


def _key(day: int) -> str:
    return f"toprung:fleet:{day}"

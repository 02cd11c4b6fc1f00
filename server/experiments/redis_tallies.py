"""Tallies in Redis (or Valkey): one hash for an experiment, shared by all workers, and a string for each visit.

A change is one Lua script, so it is atomic: what is kept of a visit and what its arm has counted always agree.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import hiredis

from server.experiments.tally import WIDTH, Change, Tally
from server.redis_client import Argument, RedisClient
from server.redis_url import without_password
from server.sessions.store import StoreError

KEPT_S = 90 * 86_400
"""Tallies are kept for this long after they last grew."""

# KEYS: visit, tallies. ARGV: before, after, ttl of the visit in ms, ttl of the tallies in s, arm, change…
_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
for i = 6, #ARGV do
  if ARGV[i] ~= '0' then redis.call('HINCRBY', KEYS[2], ARGV[5] .. ':' .. (i - 6), ARGV[i]) end
end
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
"""
_SHA1 = hashlib.sha1(_SWAP.encode(), usedforsecurity=False).hexdigest()
_SESSIONS = "sessions"


class RedisTallies:
    """See TallyStore. key: names the experiment."""

    def __init__(self, url: str, key: str, arms: int, *, ttl_s: float, timeout_s: float) -> None:
        self._url, self._arms, self._ttl_ms = url, arms, round(ttl_s * 1000)
        self._redis = RedisClient(url, timeout_s=timeout_s)
        self._key = f"toprung:experiment:{key}"

    async def count_session(self, arm: int) -> None:
        """See TallyStore."""
        await self._execute("HINCRBY", self._key, f"{arm}:{_SESSIONS}", 1)
        await self._execute("EXPIRE", self._key, KEPT_S)

    async def visit(self, key: bytes) -> bytes:
        """See TallyStore."""
        return cast(bytes | None, await self._execute("GET", self._visit(key))) or b""

    async def swap(self, key: bytes, before: bytes, after: bytes, *, arm: int, change: Change) -> bool:
        """See TallyStore."""
        rest: tuple[Argument, ...] = (2, self._visit(key), self._key, before, after, self._ttl_ms, KEPT_S, arm, *change)
        try:
            return bool(await self._redis.execute("EVALSHA", _SHA1, *rest))
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise self._failed(error) from error
        except (hiredis.HiredisError, OSError, TimeoutError) as error:
            raise self._failed(error) from error
        return bool(await self._execute("EVAL", _SWAP, *rest))

    async def tallies(self) -> list[Tally]:
        """See TallyStore."""
        reply = cast(list[bytes], await self._execute("HGETALL", self._key))
        found = dict(zip(reply[::2], map(int, reply[1::2]), strict=True))
        return [
            Tally(
                sessions=found.get(f"{arm}:{_SESSIONS}".encode(), 0),
                numbers=tuple(found.get(f"{arm}:{place}".encode(), 0) for place in range(WIDTH)),
            )
            for arm in range(self._arms)
        ]

    async def close(self) -> None:
        """See TallyStore."""
        await self._redis.close()

    def _visit(self, key: bytes) -> str:
        return f"{self._key}:{key.hex()}"

    async def _execute(self, *arguments: Argument) -> Any:
        try:
            return await self._redis.execute(*arguments)
        except (hiredis.HiredisError, OSError, TimeoutError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(f"Redis at {without_password(self._url)} does not answer ({error}).")

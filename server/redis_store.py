"""Sessions in Redis (or Valkey), shared by all server processes.

A session is a hash `{v: version, s: state, p: key of its profile}`, its log a list, a device profile a string. Each
change is one Lua script, so it is atomic and costs one round trip. (The scripts touch the profile's key, which they
are not given as one of theirs: a Redis Cluster would not allow it.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from server.sessions import SessionState, dumps_state, loads_state
from server.settings import without_password
from server.store import StoreError, Versioned

_NAMES = "toprung"
_TIMEOUT_S = 2.0

_APPEND = """
if #ARGV > first then
  for i = first + 1, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[2]), -1)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('PEXPIRE', redis.call('HGET', KEYS[1], 'p'), ARGV[1])
return 1
"""
# KEYS: session, log. ARGV: ttl in ms, most log lines, [version, state, profile key,] lines…
_SAVE = (
    """
local saved = redis.call('HGET', KEYS[1], 'v')
if (saved or '0') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'v', tonumber(ARGV[3]) + 1, 's', ARGV[4], 'p', ARGV[5])
local first = 5
"""
    + _APPEND
)
_EXTEND = (
    """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local first = 2
"""
    + _APPEND
)


class RedisStore:
    """See SessionStore. `url` is redis://, rediss:// or unix://."""

    def __init__(self, url: str, *, ttl_s: float, log_events_max: int) -> None:
        self.url = url
        self._redis = Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        self._limits = (round(ttl_s * 1000), log_events_max)
        self._save = self._redis.register_script(_SAVE)
        self._extend = self._redis.register_script(_EXTEND)

    async def ping(self) -> None:
        """Raises StoreError when Redis is not there."""
        await self._asked(self._redis.ping())

    async def load(self, session_id: str) -> Versioned | None:
        version, data = await self._asked(self._redis.hmget(_session(session_id), ["v", "s"]))
        return None if data is None else Versioned(int(version), loads_state(data))

    async def save(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> bool:
        keys = [_session(session_id), _log(session_id)]
        arguments: list[bytes | str | int] = [
            *self._limits,
            version,
            dumps_state(state),
            _profile(state.profile),
            *lines,
        ]
        return bool(await self._asked(self._save(keys, arguments)))

    async def touch(self, session_id: str) -> bool:
        return await self.append(session_id, ())

    async def append(self, session_id: str, lines: Iterable[bytes]) -> bool:
        keys = [_session(session_id), _log(session_id)]
        return bool(await self._asked(self._extend(keys, [*self._limits, *lines])))

    async def log(self, session_id: str) -> list[bytes]:
        return cast(list[bytes], await self._asked(self._redis.lrange(_log(session_id), 0, -1)))

    async def delete(self, session_id: str) -> bool:
        gone = await self._asked(self._redis.unlink(_session(session_id), _log(session_id)))
        return bool(gone)

    async def put_profile(self, key: bytes, data: bytes) -> None:
        await self._asked(self._redis.set(_profile(key), data, px=self._limits[0]))

    async def profile(self, key: bytes) -> bytes | None:
        return cast(bytes | None, await self._asked(self._redis.get(_profile(key))))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _asked(self, reply: Any) -> Any:
        try:
            return await reply
        except (RedisError, OSError, TimeoutError) as error:
            shown = without_password(self.url)
            raise StoreError(f"Redis at {shown} does not answer ({error}); start it, or serve without it.") from error


def _session(session_id: str) -> str:
    return f"{_NAMES}:session:{session_id}"


def _log(session_id: str) -> str:
    return f"{_NAMES}:log:{session_id}"


def _profile(key: bytes) -> str:
    return f"{_NAMES}:profile:{key.hex()}"

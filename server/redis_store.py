"""Sessions in Redis (or Valkey), shared by all server processes.

A session is a hash `{v: version, s: state, p: key of its profile}`, its log a list, a device profile a string. Each
change is one Lua script, so it is atomic and costs one round trip. A worker remembers the sessions that it saw last, so
that a decision needs no other: it is taken from what is remembered, and refused by the script when another worker saved
in between, which then says what that was. (The scripts touch the profile's key, which they are not always given as one
of theirs: a Redis Cluster would not allow it.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, cast

import hiredis

from server.cache import Cache
from server.redis_line import Argument, RedisLine
from server.sessions import SessionState, dumps_state, loads_state
from server.settings import without_password
from server.store import Clock, StoreError, Versioned

_NAMES = "toprung"
TIMEOUT_S = 0.25
"""Longer than this a viewer does not wait for Redis."""
REMEMBERED_BYTES_MAX = 64 << 20
UNSAVED_LINES_MAX = 256
_ENTRY_BYTES = 256
"""About what remembering a session costs beside its state."""

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
if (saved or '0') ~= ARGV[3] then
  if saved then return redis.call('HMGET', KEYS[1], 'v', 's') end
  return 0
end
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

    def __init__(
        self, url: str, clock: Clock, *, ttl_s: float, log_events_max: int, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.url = url
        self._clock = clock
        self._line = RedisLine(url, timeout_s=timeout_s)
        self._limits = (round(ttl_s * 1000), log_events_max)
        self._remembered: Cache[str, tuple[int, bytes]] = Cache(REMEMBERED_BYTES_MAX)
        self._unsaved: Cache[str, tuple[bytes, ...]] = Cache(REMEMBERED_BYTES_MAX)

    @property
    def up(self) -> bool:
        return self._line.up

    async def ping(self) -> None:
        """Raises StoreError when Redis is not there."""
        await self.since()

    async def since(self) -> float:
        key = f"{_NAMES}:since"
        await self._ask("SET", key, repr(self._clock()), "NX")
        return float(await self._ask("GET", key))

    async def shared_secret(self, fresh: str) -> str:
        key = f"{_NAMES}:secret"
        await self._ask("SET", key, fresh, "NX")
        return cast(bytes, await self._ask("GET", key)).decode()

    def cached(self, session_id: str) -> Versioned | None:
        known = self._remembered.get(session_id)
        return None if known is None else Versioned(known[0], loads_state(known[1]))

    async def load(self, session_id: str) -> Versioned | None:
        version, data = await self._ask("HMGET", _session(session_id), "v", "s")
        if data is None:
            self._remembered.drop(session_id)
            return None
        self._remember(session_id, int(version), data)
        return Versioned(int(version), loads_state(data))

    async def save(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> bool:
        data, unsaved = dumps_state(state), self._unsaved.get(session_id) or ()
        rest: tuple[Argument, ...] = (data, _profile(state.profile), *unsaved, *lines)
        reply = await self._run(_SAVE, session_id, version, *rest)
        if reply == 0 and version and state.created_s < await self.since():  # it has lost what it had
            version = 0
            reply = await self._run(_SAVE, session_id, version, *rest)
        if reply == 1:
            self._remember(session_id, version + 1, data)
            self._unsaved.drop(session_id)
            return True
        if reply == 0:
            self._remembered.drop(session_id)
        else:
            self._remember(session_id, int(reply[0]), reply[1])
        return False

    def keep(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> None:
        self._remember(session_id, version, dumps_state(state))
        unsaved = (*(self._unsaved.get(session_id) or ()), *lines)[-UNSAVED_LINES_MAX:]
        self._unsaved.put(session_id, unsaved, sum(map(len, unsaved)) + _ENTRY_BYTES)

    async def touch(self, session_id: str) -> bool:
        return await self.append(session_id, ())

    async def append(self, session_id: str, lines: Iterable[bytes]) -> bool:
        return bool(await self._run(_EXTEND, session_id, *lines))

    async def log(self, session_id: str) -> list[bytes]:
        return cast(list[bytes], await self._ask("LRANGE", _log(session_id), 0, -1))

    async def delete(self, session_id: str) -> bool:
        self._remembered.drop(session_id)
        self._unsaved.drop(session_id)
        return bool(await self._ask("UNLINK", _session(session_id), _log(session_id)))

    async def put_profile(self, key: bytes, data: bytes) -> None:
        await self._ask("SET", _profile(key), data, "PX", self._limits[0])

    async def profile(self, key: bytes) -> bytes | None:
        return cast(bytes | None, await self._ask("GET", _profile(key)))

    async def close(self) -> None:
        await self._line.close()

    def _remember(self, session_id: str, version: int, data: bytes) -> None:
        self._remembered.put(session_id, (version, data), len(data) + _ENTRY_BYTES)

    async def _run(self, script: str, session_id: str, *arguments: Argument) -> Any:
        rest: tuple[Argument, ...] = (2, _session(session_id), _log(session_id), *self._limits, *arguments)
        return await self._ask("EVALSHA", _SHA1[script], *rest, script=script)

    async def _ask(self, *arguments: Argument, script: str = "") -> Any:
        try:
            try:
                return await self._line.ask(*arguments)
            except hiredis.ReplyError as error:
                if not script or not str(error).startswith("NOSCRIPT"):
                    raise
                return await self._line.ask("EVAL", script, *arguments[2:])
        except (hiredis.HiredisError, OSError, TimeoutError) as error:
            shown = without_password(self.url)
            raise StoreError(f"Redis at {shown} does not answer ({error}); start it, or serve without it.") from error


_SHA1 = {script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (_SAVE, _EXTEND)}


def _session(session_id: str) -> str:
    return f"{_NAMES}:session:{session_id}"


def _log(session_id: str) -> str:
    return f"{_NAMES}:log:{session_id}"


def _profile(key: bytes) -> str:
    return f"{_NAMES}:profile:{key.hex()}"

"""Sessions in Redis (or Valkey), shared by all server processes.

A session is a hash `{v: version, s: state, p: key of its profile, b: bytes of its log}`, its log a list, a device
profile a string. Each change is one Lua script, so it is atomic and costs one round trip. A worker remembers the
sessions that it saw last, so that a decision needs no other: it is taken from what is remembered, and refused by the
script when another worker saved in between, which then says what that was. (The scripts touch the profile's key, which
they are not always given as one of theirs: a Redis Cluster would not allow it.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

import hiredis
import msgspec

from abr.errors import InputError
from server.clock import Clock
from server.lru_cache import LruCache
from server.redis_client import Argument, RedisClient
from server.redis_url import without_password
from server.sessions.state import SessionState, dumps_state, loads_state
from server.sessions.store import DamagedStateError, StoreError, VersionedState

_NAMES = "toprung"
TIMEOUT_S = 0.25
"""Longer than this a viewer does not wait for Redis."""
LOG_SESSION_BYTES_MAX = 2 << 20
REMEMBERED_BYTES_MAX = 64 << 20
UNSAVED_LINES_MAX = 256
_ENTRY_BYTES = 256
"""About what remembering a session costs beside its state."""

_APPEND = """
if #ARGV > first then
  local count = 0
  for i = first + 1, #ARGV do
    bytes = bytes + #ARGV[i]
    count = redis.call('RPUSH', KEYS[2], ARGV[i])
  end
  while count > 0 and (count > tonumber(ARGV[2]) or bytes > tonumber(ARGV[3])) do
    bytes = bytes - #redis.call('LPOP', KEYS[2])
    count = count - 1
  end
  redis.call('HSET', KEYS[1], 'b', bytes)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
if profile then redis.call('PEXPIRE', profile, ARGV[1]) end
return 1
"""
# KEYS: session, log. ARGV: ttl in ms, most log lines, most log bytes, [version, state, profile key,] lines…
_SAVE = (
    """
local saved = redis.call('HMGET', KEYS[1], 'v', 's', 'b')
if (saved[1] or '0') ~= ARGV[4] then
  if saved[1] then return {saved[1], saved[2]} end
  return 0
end
redis.call('HSET', KEYS[1], 'v', tonumber(ARGV[4]) + 1, 's', ARGV[5], 'p', ARGV[6])
local first, profile, bytes = 6, ARGV[6], tonumber(saved[3] or 0) or 0
"""
    + _APPEND
)
_EXTEND = (
    """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local kept = redis.call('HMGET', KEYS[1], 'p', 'b')
local first, profile, bytes = 3, kept[1], tonumber(kept[2] or 0) or 0
"""
    + _APPEND
)


class RedisStore:
    """See SessionStore. `url` is redis://, rediss:// or unix://."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        ttl_s: float,
        log_events_max: int,
        log_session_bytes_max: int = LOG_SESSION_BYTES_MAX,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.url = url
        self._clock = clock
        self._redis = RedisClient(url, timeout_s=timeout_s)
        self._limits = (round(ttl_s * 1000), log_events_max, log_session_bytes_max)
        self._remembered: LruCache[str, tuple[int, bytes]] = LruCache(REMEMBERED_BYTES_MAX)
        self._unsaved: LruCache[str, tuple[bytes, ...]] = LruCache(REMEMBERED_BYTES_MAX)

    @property
    def is_up(self) -> bool:
        """See SessionStore."""
        return self._redis.is_up

    async def ping(self) -> None:
        """Raises StoreError when Redis is not there, InputError when it is a cluster."""
        info = b""
        with suppress(hiredis.ReplyError, OSError, TimeoutError):  # who may not ask finds out by what follows
            info = await self._redis.execute("INFO", "cluster")
        if b"cluster_enabled:1" in info:
            shown = without_password(self.url)
            raise InputError(
                f"Redis at {shown} is a cluster, which cannot keep sessions; give a single Redis or Valkey."
            )
        await self.complete_since()

    async def complete_since(self) -> float:
        """See SessionStore."""
        key = f"{_NAMES}:since"
        await self._execute("SET", key, repr(self._clock()), "NX")
        return float(await self._execute("GET", key))

    async def shared_secret(self, fresh: str) -> str:
        """See SessionStore."""
        key = f"{_NAMES}:secret"
        await self._execute("SET", key, fresh, "NX")
        return cast(bytes, await self._execute("GET", key)).decode()

    def cached(self, session_id: str) -> VersionedState | None:
        """See SessionStore."""
        known = self._remembered.get(session_id)
        if known is None:
            return None
        try:
            return VersionedState(known[0], loads_state(known[1]))
        except msgspec.DecodeError:
            self._remembered.drop(session_id)
            return None

    async def load(self, session_id: str) -> VersionedState | None:
        """See SessionStore."""
        version, data = await self._execute("HMGET", _session(session_id), "v", "s")
        if version is None and data is None:
            self._remembered.drop(session_id)
            return None
        try:
            loaded = VersionedState(int(version), loads_state(data))
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            self._remembered.drop(session_id)
            await self._execute("UNLINK", _session(session_id))
            raise DamagedStateError(f"The state of session {session_id} makes no sense ({error}).") from error
        self._remember(session_id, loaded.version, data)
        return loaded

    async def save(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> bool:
        """See SessionStore."""
        data, unsaved = dumps_state(state), self._unsaved.get(session_id) or ()
        rest: tuple[Argument, ...] = (data, _profile(state.profile), *unsaved, *lines)
        reply = await self._run(_SAVE, session_id, version, *rest)
        if reply == 0 and version and state.created_s < await self.complete_since():  # it has lost what it had
            version = 0
            reply = await self._run(_SAVE, session_id, version, *rest)
        if reply == 1:
            self._remember(session_id, version + 1, data)
            self._unsaved.drop(session_id)
            return True
        self._remembered.drop(session_id)
        if reply and reply[0].isdigit() and reply[1] is not None:
            self._remember(session_id, int(reply[0]), reply[1])
        return False

    def keep_unsaved(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> None:
        """See SessionStore."""
        self._remember(session_id, version, dumps_state(state))
        unsaved = (*(self._unsaved.get(session_id) or ()), *lines)[-UNSAVED_LINES_MAX:]
        self._unsaved.put(session_id, unsaved, sum(map(len, unsaved)) + _ENTRY_BYTES)

    async def touch(self, session_id: str) -> bool:
        """See SessionStore."""
        return await self.append(session_id, ())

    async def append(self, session_id: str, lines: Iterable[bytes]) -> bool:
        """See SessionStore."""
        return bool(await self._run(_EXTEND, session_id, *lines))

    async def log(self, session_id: str) -> list[bytes]:
        """See SessionStore."""
        return cast(list[bytes], await self._execute("LRANGE", _log(session_id), 0, -1))

    async def delete(self, session_id: str) -> bool:
        """See SessionStore."""
        self._remembered.drop(session_id)
        self._unsaved.drop(session_id)
        return bool(await self._execute("UNLINK", _session(session_id), _log(session_id)))

    async def put_profile(self, key: bytes, data: bytes) -> None:
        """See SessionStore."""
        await self._execute("SET", _profile(key), data, "PX", self._limits[0])

    async def profile(self, key: bytes) -> bytes | None:
        """See SessionStore."""
        return cast(bytes | None, await self._execute("GET", _profile(key)))

    async def close(self) -> None:
        """See SessionStore."""
        await self._redis.close()

    def _remember(self, session_id: str, version: int, data: bytes) -> None:
        self._remembered.put(session_id, (version, data), len(data) + _ENTRY_BYTES)

    async def _run(self, script: str, session_id: str, *arguments: Argument) -> Any:
        rest: tuple[Argument, ...] = (2, _session(session_id), _log(session_id), *self._limits, *arguments)
        return await self._execute("EVALSHA", _SHA1[script], *rest, script=script)

    async def _execute(self, *arguments: Argument, script: str = "") -> Any:
        try:
            try:
                return await self._redis.execute(*arguments)
            except hiredis.ReplyError as error:
                if not script or not str(error).startswith("NOSCRIPT"):
                    raise
                return await self._redis.execute("EVAL", script, *arguments[2:])
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

"""Where sessions live. `MemoryStore` keeps them in the process, `RedisStore` (server.redis_store) shares them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from abr.errors import ToprungError
from server.sessions import SessionState, dumps_state, loads_state

Clock = Callable[[], float]
"""Seconds since some fixed instant, the same for all who share a store."""


class StoreError(ToprungError):
    """The store does not answer; the request can be tried again."""


class Versioned(NamedTuple):
    """A session's state and the number of times it was saved."""

    version: int
    state: SessionState


class SessionStore(Protocol):
    """Sessions, their logs and the device profiles they share. Everything lives `ttl_s` after it was last touched.

    All coroutines raise StoreError when the store cannot be reached.
    """

    @property
    def up(self) -> bool:
        """Whether the store answered lately."""
        ...

    async def since(self) -> float:
        """The instant from which on nothing was lost: a session from before it, and not here, may have been."""
        ...

    async def shared_secret(self, fresh: str) -> str:
        """The secret of all who share this store: `fresh` when they have none yet."""
        ...

    def cached(self, session_id: str) -> Versioned | None:
        """The session as this process saw it last, without asking: when it is out of date, `save` is refused."""
        ...

    def keep(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> None:
        """Remember here what could not be saved: `cached` tells it, and the next `save` brings its lines."""
        ...

    async def load(self, session_id: str) -> Versioned | None:
        """The session as it was last saved, or None."""
        ...

    async def save(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> bool:
        """Put back a state that was loaded as `version` (0: it is new) and add lines to its log, both or neither.

        False when somebody else saved in between, or the session is gone: load it again.
        """
        ...

    async def touch(self, session_id: str) -> bool:
        """Start the time to live afresh. False when there is no such session."""
        ...

    async def append(self, session_id: str, lines: Iterable[bytes]) -> bool:
        """Add lines to the log, dropping the oldest beyond the bound; touches. False when there is no such session."""
        ...

    async def log(self, session_id: str) -> list[bytes]:
        """The log's lines, oldest first."""
        ...

    async def delete(self, session_id: str) -> bool:
        """Forget the session and its log. False when there was none."""
        ...

    async def put_profile(self, key: bytes, data: bytes) -> None:
        """Keep a device profile as long as a session that names it is touched."""
        ...

    async def profile(self, key: bytes) -> bytes | None:
        """The device profile called `key`, or None."""
        ...

    async def ping(self) -> None:
        """Nothing when the store is there."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(slots=True)
class _Session:
    version: int
    data: bytes
    profile: bytes
    deadline_s: float
    lines: list[bytes] | None = None
    """None rather than empty: sessions are many, and their logs bounded all together."""


@dataclass(slots=True)
class _Profile:
    data: bytes
    deadline_s: float


class MemoryStore:
    """Sessions of one process, bounded in number and in bytes of log; the longest unheard of go first."""

    def __init__(
        self,
        clock: Clock,
        *,
        ttl_s: float,
        sessions_max: int,
        log_events_max: int,
        log_bytes_max: int,
        ticks: Clock | None = None,
    ) -> None:
        """ticks: what times to live are counted in, for a clock that may be set."""
        self._clock = ticks or clock
        self._ttl_s = ttl_s
        self._sessions_max = sessions_max
        self._log_events_max = log_events_max
        self._log_bytes_max = log_bytes_max
        self._log_bytes = 0
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._logged: OrderedDict[int, _Session] = OrderedDict()
        """Those that have lines, the one that got some last at the end."""
        self._profiles: OrderedDict[bytes, _Profile] = OrderedDict()
        self._since_s = clock()

    @property
    def up(self) -> bool:
        return True

    async def since(self) -> float:
        return self._since_s

    async def shared_secret(self, fresh: str) -> str:
        return fresh

    async def load(self, session_id: str) -> Versioned | None:
        return self.cached(session_id)

    def keep(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> None:
        return None

    def cached(self, session_id: str) -> Versioned | None:
        session = self._alive(session_id)
        return Versioned(session.version, loads_state(session.data)) if session else None

    async def save(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> bool:
        session = self._alive(session_id)
        if (session.version if session else 0) != version:
            return False
        if session is None:
            session = self._sessions[session_id] = _Session(0, b"", state.profile, 0.0)
        session.version += 1
        session.data = dumps_state(state)
        self._touch(session_id, session)
        self._append(session, lines)
        self._bound()
        return True

    async def touch(self, session_id: str) -> bool:
        session = self._alive(session_id)
        if session is not None:
            self._touch(session_id, session)
        return session is not None

    async def append(self, session_id: str, lines: Iterable[bytes]) -> bool:
        session = self._alive(session_id)
        if session is not None:
            self._touch(session_id, session)
            self._append(session, lines)
        return session is not None

    async def log(self, session_id: str) -> list[bytes]:
        session = self._alive(session_id)
        return list(session.lines or ()) if session else []

    async def delete(self, session_id: str) -> bool:
        alive = self._alive(session_id) is not None
        self._forget(session_id)
        return alive

    async def put_profile(self, key: bytes, data: bytes) -> None:
        self._profiles[key] = _Profile(data, self._clock() + self._ttl_s)
        self._profiles.move_to_end(key)
        while len(self._profiles) > self._sessions_max:
            self._profiles.popitem(last=False)

    async def profile(self, key: bytes) -> bytes | None:
        kept = self._profiles.get(key)
        return kept.data if kept and kept.deadline_s > self._clock() else None

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        self._sessions.clear()
        self._logged.clear()
        self._profiles.clear()
        self._log_bytes = 0

    def __len__(self) -> int:
        """Sessions held, expired ones that nobody asked for included."""
        return len(self._sessions)

    def _alive(self, session_id: str) -> _Session | None:
        session = self._sessions.get(session_id)
        if session is not None and session.deadline_s <= self._clock():
            self._forget(session_id)
            return None
        return session

    def _touch(self, session_id: str, session: _Session) -> None:
        session.deadline_s = self._clock() + self._ttl_s
        self._sessions.move_to_end(session_id)
        profile = self._profiles.get(session.profile)
        if profile is not None:
            profile.deadline_s = session.deadline_s
            self._profiles.move_to_end(session.profile)

    def _append(self, session: _Session, lines: Iterable[bytes]) -> None:
        added = list(lines)
        if not added:
            return
        kept = session.lines = session.lines or []
        kept += added
        self._log_bytes += sum(map(len, added))
        self._drop(session, len(kept) - self._log_events_max)
        if session.lines:
            self._logged[id(session)] = session
            self._logged.move_to_end(id(session))
        while self._log_bytes > self._log_bytes_max and self._logged:
            oldest = next(iter(self._logged.values()))
            excess, count = self._log_bytes - self._log_bytes_max, 0
            for line in oldest.lines or ():
                if excess <= 0:
                    break
                excess, count = excess - len(line), count + 1
            self._drop(oldest, count)

    def _drop(self, session: _Session, count: int) -> None:
        """Forget the oldest lines."""
        if session.lines and count > 0:
            self._log_bytes -= sum(map(len, session.lines[:count]))
            del session.lines[:count]
        if not session.lines:
            session.lines = None
            self._logged.pop(id(session), None)

    def _forget(self, session_id: str) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._drop(session, len(session.lines or ()))

    def _bound(self) -> None:
        """Sessions are in the order in which they were touched, which is the order in which they expire."""
        now_s = self._clock()
        while self._sessions:
            oldest_id, oldest = next(iter(self._sessions.items()))
            if len(self._sessions) <= self._sessions_max and oldest.deadline_s > now_s:
                break
            self._forget(oldest_id)
        while self._profiles and next(iter(self._profiles.values())).deadline_s <= now_s:
            self._profiles.popitem(last=False)

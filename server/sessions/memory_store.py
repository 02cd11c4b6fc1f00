"""Sessions in the memory of one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from server.clock import Clock
from server.sessions.state import SessionState, dumps_state, loads_state
from server.sessions.store import VersionedState

LOG_SESSION_BYTES_MAX = 2 << 20
PROFILE_BYTES_MAX = 64 << 20


@dataclass(slots=True)
class _Session:
    version: int
    data: bytes
    profile: bytes
    deadline_s: float
    log_bytes: int = 0
    lines: list[bytes] | None = None
    """None rather than empty: sessions are many, and their logs bounded all together."""


@dataclass(slots=True)
class _Profile:
    key: bytes
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
        log_session_bytes_max: int = LOG_SESSION_BYTES_MAX,
        profile_bytes_max: int = PROFILE_BYTES_MAX,
        ticks: Clock | None = None,
    ) -> None:
        """ticks: what times to live are counted in, for a clock that may be set."""
        self._clock = ticks or clock
        self._ttl_s = ttl_s
        self._sessions_max = sessions_max
        self._log_events_max = log_events_max
        self._log_bytes_max = log_bytes_max
        self._log_session_bytes_max = log_session_bytes_max
        self._profile_bytes_max = profile_bytes_max
        self._profile_bytes = 0
        self._log_bytes = 0
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._logged: OrderedDict[int, _Session] = OrderedDict()
        """Those that have lines, the one that got some last at the end."""
        self._profiles: OrderedDict[bytes, _Profile] = OrderedDict()
        self._since_s = clock()

    @property
    def is_up(self) -> bool:
        """See SessionStore."""
        return True

    async def complete_since(self) -> float:
        """See SessionStore."""
        return self._since_s

    async def shared_secret(self, fresh: str) -> str:
        """See SessionStore."""
        return fresh

    async def load(self, session_id: str) -> VersionedState | None:
        """See SessionStore."""
        return self.cached(session_id)

    def keep_unsaved(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> None:
        """See SessionStore."""
        return

    def cached(self, session_id: str) -> VersionedState | None:
        """See SessionStore."""
        session = self._alive(session_id)
        return VersionedState(session.version, loads_state(session.data)) if session else None

    async def save(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> bool:
        """See SessionStore."""
        session = self._alive(session_id)
        if (session.version if session else 0) != version:
            return False
        if session is None:
            session = self._sessions[session_id] = _Session(0, b"", self._profile_key(state.profile), 0.0)
        session.version += 1
        session.data = dumps_state(state)
        self._touch(session_id, session)
        self._append(session, lines)
        self._bound()
        return True

    async def touch(self, session_id: str) -> bool:
        """See SessionStore."""
        session = self._alive(session_id)
        if session is not None:
            self._touch(session_id, session)
        return session is not None

    async def append(self, session_id: str, lines: Iterable[bytes]) -> bool:
        """See SessionStore."""
        session = self._alive(session_id)
        if session is not None:
            self._touch(session_id, session)
            self._append(session, lines)
        return session is not None

    async def log(self, session_id: str) -> list[bytes]:
        """See SessionStore."""
        session = self._alive(session_id)
        return list(session.lines or ()) if session else []

    async def delete(self, session_id: str) -> bool:
        """See SessionStore."""
        alive = self._alive(session_id) is not None
        self._forget(session_id)
        return alive

    async def put_profile(self, key: bytes, data: bytes) -> None:
        """See SessionStore."""
        key = self._profile_key(key)
        self._drop_profile(key)
        self._profiles[key] = _Profile(key, data, self._clock() + self._ttl_s)
        self._profile_bytes += len(data)
        while len(self._profiles) > self._sessions_max or self._profile_bytes > self._profile_bytes_max:
            self._drop_profile(next(iter(self._profiles)))

    async def profile(self, key: bytes) -> bytes | None:
        """See SessionStore."""
        kept = self._profiles.get(key)
        return kept.data if kept and kept.deadline_s > self._clock() else None

    async def ping(self) -> None:
        """See SessionStore."""
        return

    async def close(self) -> None:
        """See SessionStore."""
        self._sessions.clear()
        self._logged.clear()
        self._profiles.clear()
        self._log_bytes = self._profile_bytes = 0

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
        added_bytes = sum(map(len, added))
        session.log_bytes += added_bytes
        self._log_bytes += added_bytes
        self._drop(session, len(kept) - self._log_events_max)
        self._drop(session, _count_excess(session.lines or (), session.log_bytes - self._log_session_bytes_max))
        if session.lines:
            self._logged[id(session)] = session
            self._logged.move_to_end(id(session))
        while self._log_bytes > self._log_bytes_max and self._logged:
            oldest = next(iter(self._logged.values()))
            self._drop(oldest, _count_excess(oldest.lines or (), self._log_bytes - self._log_bytes_max))

    def _drop(self, session: _Session, count: int) -> None:
        """Forget the oldest lines."""
        if session.lines and count > 0:
            dropped_bytes = sum(map(len, session.lines[:count]))
            session.log_bytes -= dropped_bytes
            self._log_bytes -= dropped_bytes
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
            self._drop_profile(next(iter(self._profiles)))

    def _profile_key(self, key: bytes) -> bytes:
        """The same key, one object for all sessions of a profile."""
        kept = self._profiles.get(key)
        return kept.key if kept else key

    def _drop_profile(self, key: bytes) -> None:
        dropped = self._profiles.pop(key, None)
        self._profile_bytes -= len(dropped.data) if dropped else 0


def _count_excess(lines: Iterable[bytes], excess_bytes: int) -> int:
    """How many of the first lines hold so many bytes."""
    count = 0
    for line in lines:
        if excess_bytes <= 0:
            break
        excess_bytes, count = excess_bytes - len(line), count + 1
    return count

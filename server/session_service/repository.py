"""Sessions as the service sees them: loaded and saved, and carried on from memory while the store is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from abr.core.device import DeviceProfile
from abr.errors import FormatError
from abr.records import dumps, loads
from server.clock import Clock
from server.errors import RequestError
from server.monitoring.metrics import Metrics
from server.sessions.session_ids import SessionIds, store_key
from server.sessions.state import SessionState, profile_key
from server.sessions.store import DamagedStateError, SessionStore, StoreError, VersionedState

WARN_EVERY_S = 10.0
LOG_READS_MAX = 2
AGE_MAX_S = 86_400.0
"""A session that the store has lost is taken up again until this long after it was opened."""
ATTEMPTS = 32
"""Saves that may fail since another process saved the same session in between."""

Change = Callable[[VersionedState], Awaitable[tuple[SessionState, list[bytes]] | None]]
"""From a session as loaded to what shall be saved of it and the lines for its log; None when nothing changes."""

log = logging.getLogger("toprung.sessions")


class SessionRepository:
    """Raises RequestError 404 for ids that are not ours, or whose session is gone."""

    def __init__(self, store: SessionStore, ids: SessionIds, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._metrics = metrics
        self._warned_s = 0.0
        self._log_reads = asyncio.Semaphore(LOG_READS_MAX)

    async def create(self, state: SessionState) -> str:
        """Save a new session; returns its id."""
        session_id = self._ids.issue(state)
        try:
            await self._store.save(store_key(session_id), state, version=0)
        except StoreError as error:
            self._count_failure(error)
            self._store.keep_unsaved(store_key(session_id), state, version=0)
        return session_id

    async def load(self, session_id: str) -> VersionedState:
        """What the store has; the session as it began, when the store may have lost it or does not answer."""
        seed = self._ids.read(session_id)
        if seed is None:
            raise unknown_session()
        key = store_key(session_id)
        try:
            loaded = await self._store.load(key)
            if loaded is not None:
                return loaded
            if seed.created_s >= await self._store.complete_since() or self._clock() - seed.created_s > AGE_MAX_S:
                raise unknown_session()
        except StoreError as error:
            self._count_failure(error)
            loaded = self._store.cached(key)
        except DamagedStateError as error:
            log.warning("%s It begins anew.", error)
            loaded = await self._begin_anew(key, seed.state())
        return loaded or VersionedState(0, seed.state())

    async def _begin_anew(self, key: str, state: SessionState) -> VersionedState | None:
        """Saved at once: what is gone from a store that lost nothing else would count as ended."""
        try:
            await self._store.save(key, state, version=0)
        except StoreError as error:
            self._count_failure(error)
        return self._store.cached(key)

    def arm(self, session_id: str) -> str:
        """The arm that the session was drawn into; empty outside of an experiment, and for ids that are not ours."""
        seed = self._ids.read(session_id)
        return seed.arm if seed else ""

    async def latest(self, session_id: str, key: str, *, reload: bool = False) -> VersionedState:
        """The session as this process saw it last, without asking the store; loaded when it did not, or to `reload`."""
        if self._ids.read(session_id) is None:
            raise unknown_session()
        return (None if reload else self._store.cached(key)) or await self.load(session_id)

    async def save_decision(self, key: str, state: SessionState, version: int, line: bytes) -> bool:
        """False when another process saved the session in between. Without the store it is remembered here."""
        try:
            return await self._store.save(key, state, version=version, lines=(line,))
        except StoreError as error:
            self._count_failure(error)
            self._metrics.degraded.inc()
            self._store.keep_unsaved(key, state, version=version, lines=(line,))
            return True

    async def touch(self, key: str) -> None:
        """The session is in use: its time to live starts afresh."""
        try:
            await self._store.touch(key)
        except StoreError as error:
            self._count_failure(error)
            self._metrics.degraded.inc()

    async def change(self, session_id: str, change: Change) -> None:
        """Load, change and save, again when another process saved in between.

        Raises RequestError 503 after ATTEMPTS, StoreError when the store is away.
        """
        for _ in range(ATTEMPTS):
            loaded = await self.load(session_id)
            changed = await change(loaded)
            if changed is None:
                return
            state, lines = changed
            if await self._store.save(store_key(session_id), state, version=loaded.version, lines=lines):
                return
        raise contended_session()

    async def append(self, session_id: str, lines: Iterable[bytes]) -> SessionState:
        """Add lines to the session's log; returns its state."""
        version, state = await self.load(session_id)
        key = store_key(session_id)
        if version:
            added = await self._store.append(key, lines)
        else:
            added = await self._store.save(key, state, version=0, lines=lines)
        if not added:
            raise unknown_session()
        return state

    async def log(self, key: str) -> bytes:
        """The session log, one JSON object a line; empty when there is none. Few are read at a time: they are long."""
        async with self._log_reads:
            return b"".join(await self._store.log(key))

    async def delete(self, session_id: str) -> None:
        """Forget the session and its log."""
        if self._ids.read(session_id) is None or not await self._store.delete(store_key(session_id)):
            raise unknown_session()

    async def save_profile(self, profile: DeviceProfile | None) -> bytes:
        """The key under which sessions name the profile; empty without one."""
        if profile is None:
            return b""
        key = profile_key(profile)
        try:
            await self._store.put_profile(key, dumps(profile))
        except StoreError as error:
            self._count_failure(error)
        return key

    async def load_profile(self, key: bytes) -> DeviceProfile | None:
        """None also when the store has lost it, which is worth a warning: plain playback until it is there again."""
        try:
            data = await self._store.profile(key) if key else None
        except StoreError as error:
            self._count_failure(error)
            return None
        if key and data is None:
            log.warning("a device profile was forgotten before its session; plain playback only")
        try:
            return None if data is None else loads(data, DeviceProfile, what="stored device profile")
        except FormatError as error:
            log.warning("%s; plain playback only", error)
            return None

    def _count_failure(self, error: StoreError) -> None:
        """The store is away; sessions go on from what is remembered."""
        self._metrics.store_failures.inc()
        if abs(self._clock() - self._warned_s) >= WARN_EVERY_S:
            self._warned_s = self._clock()
            log.warning("%s; going on without it", error)


def unknown_session() -> RequestError:
    """The error for an id that is not ours, or whose session is gone."""
    return RequestError(404, "There is no such session; it ended or was never opened. POST /sessions opens one.")


def contended_session() -> RequestError:
    """The error for a session that others saved ATTEMPTS times in between."""
    return RequestError(503, "Too many requests of this session at once; try again.", {"Retry-After": "1"})

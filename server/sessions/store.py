"""Where sessions live.

`MemoryStore` (server.sessions.memory_store) keeps them in the process, `RedisStore` (server.sessions.redis_store)
shares them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from abr.errors import ToprungError
from server.sessions.state import SessionState


class StoreError(ToprungError):
    """The store does not answer; the request can be tried again."""


class DamagedStateError(ToprungError):
    """What the store has of a session makes no sense, and was thrown away: the session begins anew."""


class VersionedState(NamedTuple):
    """A session's state and the number of times it was saved."""

    version: int
    state: SessionState


class SessionStore(Protocol):
    """Sessions, their logs and the device profiles they share. Everything lives `ttl_s` after it was last touched.

    All coroutines raise StoreError when the store cannot be reached.
    """

    @property
    def is_up(self) -> bool:
        """Whether the store answered lately."""
        ...

    async def complete_since(self) -> float:
        """The instant from which on nothing was lost: a session from before it, and not here, may have been."""
        ...

    async def shared_secret(self, fresh: str) -> str:
        """The secret of all who share this store: `fresh` when they have none yet."""
        ...

    def cached(self, session_id: str) -> VersionedState | None:
        """The session as this process saw it last, without asking: when it is out of date, `save` is refused."""
        ...

    def keep_unsaved(self, session_id: str, state: SessionState, *, version: int, lines: Iterable[bytes] = ()) -> None:
        """Remember here what could not be saved: `cached` tells it, and the next `save` brings its lines."""
        ...

    async def load(self, session_id: str) -> VersionedState | None:
        """The session as it was last saved, or None. Raises DamagedStateError."""
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

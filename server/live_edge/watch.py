"""Waiting for the live edge: one look at the disk for all who wait for the same stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from abr.errors import FormatError, StorageError
from server.clock import Clock
from server.concurrency.keyed_lock import KeyedLock
from server.errors import DamagedTitleError, RequestError
from server.media.library import Library
from server.media.live_title import LIVE_FILE, LiveTitle, load_live

LOOK_EVERY_S = 0.02
IDLE_S = 1.0
"""Nobody has waited for so long: it is not looked at any more."""
WAITING_MAX = 20_000
"""Requests that wait at the same time, of all streams."""

_Status = tuple[int, int, int]


class Edge(NamedTuple):
    """A live title as its file had it when it was last looked at, at seen_s of the server's clock."""

    live: LiveTitle
    seen_s: float


@dataclass(slots=True, eq=False)
class _Watched:
    """A stream that is looked at. changed: done at the next change, and then another one."""

    edge: Edge | None = None
    error: RequestError | None = None
    waiting: int = 0
    changed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Wake all who wait."""
        self.changed.set_result(None)
        self.changed = asyncio.get_running_loop().create_future()


class EdgeWatch:
    """How far the live titles of a library have come. `close` lets all go who wait."""

    def __init__(self, library: Library, clock: Clock) -> None:
        self._library, self._clock = library, clock
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._turns = KeyedLock()
        self.waiting = 0
        """Requests."""
        self._closed = False

    async def now(self, title_id: str, version: str) -> Edge:
        """A live title as it is, of that version or of whichever there is (empty).

        Raises RequestError: 404 where there is none, 410 when that version is gone, 503 when too many wait.
        """
        return await self.until(title_id, version, lambda _live: True, 60.0)

    async def reach(self, title_id: str, version: str, segment: int, chunk: int, patience_s: float) -> Edge:
        """Wait until a chunk of a segment (both 0-based) is there, or the stream runs no more.

        Raises as `now`, and TimeoutError.
        """

        def has_come(live: LiveTitle) -> bool:
            return live.has(segment, chunk) or live.state != "running"

        return await self.until(title_id, version, has_come, patience_s)

    async def until(self, title_id: str, version: str, wanted: Callable[[LiveTitle], bool], patience_s: float) -> Edge:
        """Wait until a live title is as wanted. Raises as `reach`."""
        if self._closed or self.waiting >= WAITING_MAX:
            raise RequestError(503, "Too many viewers wait for what is to come; try again.", {"Retry-After": "1"})
        watched = self._watch((title_id, version))
        watched.waiting += 1
        self.waiting += 1
        try:
            async with asyncio.timeout(patience_s):
                while watched.edge is None or not wanted(watched.edge.live):
                    if watched.error is not None:
                        raise watched.error
                    await asyncio.shield(watched.changed)
                return watched.edge
        finally:
            watched.waiting -= 1
            self.waiting -= 1

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """One after the other: all who waited for the same are told at once, and look for the same file."""
        await self._turns.acquire(name)
        try:
            yield
        finally:
            self._turns.release(name)

    def close(self) -> None:
        """A server that stops does not wait for a stream."""
        self._closed = True
        for watched in self._watched.values():
            if watched.task is not None:
                watched.task.cancel()
            watched.edge, watched.error = None, RequestError(503, "The server is stopping.", {"Retry-After": "1"})
            watched.tell()

    def _watch(self, key: tuple[str, str]) -> _Watched:
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched()
            watched.task = asyncio.create_task(self._look_on(key, watched))
        return watched

    async def _look_on(self, key: tuple[str, str], watched: _Watched) -> None:
        loop = asyncio.get_running_loop()
        idle_since_s, folder, status = loop.time(), None, None
        try:
            while watched.waiting or loop.time() < idle_since_s + IDLE_S:
                idle_since_s = loop.time() if watched.waiting else idle_since_s
                seen_s = self._clock()
                folder, status, live = await asyncio.to_thread(self._look, key, folder, status)
                if live is not None:
                    watched.edge = Edge(live, seen_s)
                    watched.tell()
                await asyncio.sleep(LOOK_EVERY_S)
        except RequestError as error:
            watched.edge, watched.error = None, error
            watched.tell()
        finally:
            del self._watched[key]

    def _look(
        self, key: tuple[str, str], folder: Path | None, status: _Status | None
    ) -> tuple[Path, _Status, LiveTitle | None]:
        """Where it lies, and its state if that is another one than `status` was of. Raises RequestError."""
        title_id, version = key
        try:
            folder = folder or self._library.live_folder(title_id, version)
            if folder is None:
                raise self._gone(title_id, version)
            found = (folder / LIVE_FILE).stat()
            now = found.st_ino, found.st_size, found.st_mtime_ns
            if now == status:
                return folder, now, None
            live = load_live(folder)
        except FileNotFoundError as error:
            raise self._gone(title_id, version) from error
        except (FormatError, StorageError, OSError) as error:
            raise DamagedTitleError(title_id) from error
        if version and live.version != version:
            raise self._gone(title_id, version)
        return folder, now, live

    def _gone(self, title_id: str, version: str) -> RequestError:
        if version and (self._library.has_live(title_id) or self._library.has_title(title_id)):
            return RequestError(410, f"The live stream {title_id[:64]!r} is over; open its manifest again.")
        return RequestError(404, f"There is no live title named {title_id[:64]!r}; GET /titles lists what there is.")

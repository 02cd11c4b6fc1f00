"""The player's side of the session log: kept in memory, appended to a file, posted to the server in batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from abr.core.control import Download
from abr.core.events import AnyEvent, Decided, Downloaded, Ended, EventBatch, Failed, dumps_line, dumps_log
from abr.errors import StorageError
from abr.files import write_atomically
from abr.virtual_time import SessionClock

POST_EVERY_S = 5.0
_BATCH_MAX = 200
_BATCH_MAX_BYTES = 128 << 10
_UNSENT_MAX = 4096

Post = Callable[[EventBatch], Awaitable[bool]]
"""Delivers a batch; False when the server did not take it."""


def to_downloaded_event(kind: str, timing: Download, *, segment: int = 0, name: str) -> Downloaded:
    """The event of a download that has ended."""
    return Downloaded(
        t_s=timing.started_s + timing.duration_s,
        kind=kind,
        started_s=timing.started_s,
        latency_s=timing.latency_s,
        duration_s=timing.duration_s,
        size_bytes=timing.size_bytes,
        segment=segment,
        name=name,
    )


class SessionLog:
    """All events of one session in order. listener: called with each event as it happens. is_posted: to the server."""

    def __init__(
        self, path: Path | None, listener: Callable[[AnyEvent], None] = lambda _event: None, *, is_posted: bool = True
    ) -> None:
        self.events: list[AnyEvent] = []
        self._path, self._listener, self._is_posted = path, listener, is_posted
        self._unsent: list[AnyEvent] = []
        self._file = _create(path) if path else None

    def append(self, event: AnyEvent) -> None:
        """Add an event. Raises StorageError when the file takes no more."""
        self.events.append(event)
        self._listener(event)
        if self._is_posted and not isinstance(event, Decided):  # the server wrote that one itself
            self._unsent = [*self._unsent, event][-_UNSENT_MAX:]
        if self._file is not None:
            try:
                self._file.write(dumps_line(event))
                self._file.flush()
            except OSError as error:
                raise StorageError(f"Cannot write the session log {self._path}: {error.strerror}.") from error

    async def keep_posting(self, clock: SessionClock, post: Post) -> None:
        """Post what is new every few seconds, until cancelled. One refusal is logged, and posting goes on."""
        refused = False
        while True:
            await clock.sleep_until(clock.now_s() + POST_EVERY_S)
            taken = await self.post_all(post)
            if not taken and not refused:
                refused = True
                self.append(Failed(t_s=clock.now_s(), what="telemetry", detail="the server does not take events"))

    async def post_all(self, post: Post) -> bool:
        """Post everything unsent; what is not taken stays for the next time."""
        while self._unsent:
            batch = _next_batch(self._unsent)
            if not await post(EventBatch(events=batch)):
                return False
            self._unsent = self._unsent[len(batch) :]
        return True

    def replace_decisions(self, decided: list[Decided]) -> None:
        """Put the server's own decisions, which carry what it saw, in the place of ours. Rewrites the file."""
        from_server = {event.segment: event for event in decided}
        self.events = [
            from_server.get(event.segment, event) if isinstance(event, Decided) else event for event in self.events
        ]
        if self._path is not None:
            write_atomically(self._path, dumps_log(self.events))

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    @property
    def ended(self) -> bool:
        """Whether the session has said that it is over."""
        return any(isinstance(event, Ended) for event in self.events[-4:])


def _next_batch(events: list[AnyEvent]) -> tuple[AnyEvent, ...]:
    """As many of the first events as one request may carry; at least one."""
    batch: list[AnyEvent] = []
    size = 0
    for event in events[:_BATCH_MAX]:
        size += len(dumps_line(event))
        if batch and size > _BATCH_MAX_BYTES:
            break
        batch.append(event)
    return tuple(batch)


def _create(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise StorageError(f"Cannot write the session log {path}: {error.strerror}.") from error

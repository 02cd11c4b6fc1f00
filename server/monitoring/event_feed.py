"""The events of all sessions, for whoever watches: kept for a while, then passed on as they happen.

Those of this process come from its session service, those of others that share its store by
`server.monitoring.feed_relay`.

Watchers never learn a session's id, since knowing it is the right to use the session; they get its first characters.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.events import AnyEvent, Decided, Started
from abr.protocols.session_api import PUBLIC_ID_CHARACTERS
from abr.records import Record, dumps
from server.clock import Clock
from server.sessions.session_ids import public_part

SESSIONS_KEPT = 64
LINES_KEPT = 512
KEPT_BYTES_MAX = 256 << 10
"""Of one session, the newest."""
LINE_BYTES_MAX = 32 << 10
"""A longer event is in its session's log only."""
WATCHERS_MAX = 64
BEHIND_MAX = 2048
"""A watcher that is so many lines behind is let go; its browser comes back and begins again."""
OUTBOX_MAX = 1024
OUTBOX_BYTES_MAX = 128 << 10
"""What waits for other processes; the oldest are left out."""
ALONE, TOGETHER = b"alone", b"together"
"""Told to watchers between the lines: from now on without, or again with, the sessions of other processes."""


class FeedLine(Record, frozen=True):
    """One event of one session. `at_s` is the server's clock, seconds since 1970."""

    session: Annotated[str, Meta(max_length=PUBLIC_ID_CHARACTERS)]
    title: str
    at_s: float
    event: AnyEvent


class _Heading(msgspec.Struct):
    session: str


class BoundedLines:
    """The newest lines, bounded in number and in bytes."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._lines: deque[bytes] = deque()
        self._count_max, self._bytes_max = count_max, bytes_max
        self._bytes = 0
        self.added = 0
        """How many lines were ever added."""

    def append(self, line: bytes) -> None:
        """Add a line; the oldest go where there are too many."""
        self._lines.append(line)
        self._bytes += len(line)
        self.added += 1
        while len(self._lines) > self._count_max or self._bytes > self._bytes_max:
            self.popleft()

    def popleft(self) -> bytes:
        """Take the oldest line out."""
        line = self._lines.popleft()
        self._bytes -= len(line)
        return line

    def drop_until(self, added: int) -> None:
        """Take out what was there when `added` lines had been added."""
        while self._lines and self.added - len(self._lines) < added:
            self.popleft()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


class EventFeed:
    """Takes events in and passes them on to watchers. Publishing never waits."""

    def __init__(self, clock: Clock, *, is_shared: bool = False) -> None:
        """is_shared: other processes, which share the store, have feeds too (server.monitoring.feed_relay)."""
        self._clock = clock
        self._kept: OrderedDict[str, BoundedLines] = OrderedDict()
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._is_alone = False
        self.is_shared = is_shared
        self.outbox = BoundedLines(OUTBOX_MAX, OUTBOX_BYTES_MAX)
        """Lines that other processes have not got yet."""

    def publish(self, session_id: str, title: str, events: Iterable[AnyEvent]) -> None:
        """Pass events of a session on, and keep them for those who come later."""
        public_id = public_part(session_id)
        for event in events:
            line = dumps(FeedLine(session=public_id, title=title, at_s=self._clock(), event=without_id(event)))
            if len(line) > LINE_BYTES_MAX:
                continue
            self._keep(public_id, line)
            if self.is_shared:
                self.outbox.append(line)

    def receive(self, lines: Iterable[bytes]) -> None:
        """The same for lines that another process published."""
        for line in lines:
            self._keep(msgspec.json.decode(line, type=_Heading).session, line)

    def set_alone(self, is_alone: bool) -> None:
        """Whether other processes cannot be reached; watchers are told when that changes."""
        if is_alone != self._is_alone:
            self._is_alone = is_alone
            self._broadcast(ALONE if is_alone else TOGETHER)

    def _keep(self, public_id: str, line: bytes) -> None:
        kept = self._kept.get(public_id)
        if kept is None:
            kept = self._kept[public_id] = BoundedLines(LINES_KEPT, KEPT_BYTES_MAX)
            if len(self._kept) > SESSIONS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(public_id)
        kept.append(line)
        self._broadcast(line)

    def _broadcast(self, line: bytes) -> None:
        for watcher in tuple(self._watchers):
            self._send(watcher, line)

    async def watch(self, public_id: str = "") -> AsyncIterator[bytes]:
        """Lines of all sessions, or of one: first those kept, then an empty one, then each as it is published.

        ALONE and TOGETHER come where that begins.
        """
        watcher: asyncio.Queue[bytes | None] = asyncio.Queue(BEHIND_MAX)
        mark = b'{"session":"' + public_id.encode()
        kept = [line for name, lines in self._kept.items() if name.startswith(public_id) for line in lines]
        self._watchers.add(watcher)
        try:
            for line in kept:
                yield line
            yield b""
            if self._is_alone:
                yield ALONE
            while (line_or_end := await watcher.get()) is not None:
                if line_or_end.startswith(mark) or line_or_end in (ALONE, TOGETHER):
                    yield line_or_end
        finally:
            self._watchers.discard(watcher)

    @property
    def has_watchers(self) -> bool:
        """Whether anybody listens."""
        return bool(self._watchers)

    @property
    def is_full(self) -> bool:
        """Whether one more watcher would be too many."""
        return len(self._watchers) >= WATCHERS_MAX

    def close(self) -> None:
        """Let every watcher go."""
        for watcher in tuple(self._watchers):
            self._end(watcher)

    def _send(self, watcher: asyncio.Queue[bytes | None], line: bytes) -> None:
        if watcher.full():
            self._end(watcher)
        else:
            watcher.put_nowait(line)

    def _end(self, watcher: asyncio.Queue[bytes | None]) -> None:
        self._watchers.discard(watcher)
        while not watcher.empty():
            watcher.get_nowait()
        watcher.put_nowait(None)


def without_id(event: AnyEvent) -> AnyEvent:
    """The event as watchers may see it, without what only a replay needs."""
    if isinstance(event, Started):
        return msgspec.structs.replace(event, session=public_part(event.session))
    if isinstance(event, Decided) and event.seen is not None:
        seen = msgspec.structs.replace(event.seen, downloads=event.seen.downloads[-1:], owned=(), memory=())
        return msgspec.structs.replace(event, seen=seen)
    return event

"""The events of this process's sessions, for whoever watches: kept for a while, then passed on as they happen.

Watchers never learn a session's id, since knowing it is the right to use the session; they get its first characters.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.events import AnyEvent, Decided, Started
from abr.formats import Record, dumps
from server.exposition import session_shown
from server.store import Clock

SESSIONS_KEPT = 64
LINES_KEPT = 512
"""Of one session, the newest."""
WATCHERS_MAX = 64
BEHIND_MAX = 2048
"""A watcher that is so many lines behind is let go; its browser comes back and begins again."""


class FeedLine(Record, frozen=True):
    """One event of one session. `at_s` is the server's clock, seconds since 1970."""

    session: Annotated[str, Meta(max_length=16)]
    title: str
    at_s: float
    event: AnyEvent


@dataclass(slots=True)
class _Kept:
    session_id: str
    title: str
    lines: deque[bytes] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))


class Feed:
    """Who tells what happened, and who watches. Telling never waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._watchers: set[asyncio.Queue[bytes | None]] = set()

    def tell(self, session_id: str, title: str, events: Iterable[AnyEvent]) -> None:
        """Pass events of a session on, and keep them for those who come later."""
        shown = session_shown(session_id)
        kept = self._kept.get(shown)
        if kept is None or kept.session_id != session_id:
            kept = self._kept[shown] = _Kept(session_id, title)
        self._kept.move_to_end(shown)
        for event in events:
            line = dumps(FeedLine(session=shown, title=title, at_s=self._clock(), event=without_id(event)))
            kept.lines.append(line)
            for watcher in tuple(self._watchers):
                self._pass(watcher, line)
        while len(self._kept) > SESSIONS_KEPT:
            self._kept.popitem(last=False)

    async def watch(self, shown: str = "") -> AsyncIterator[bytes]:
        """Lines of all sessions, or of one: first those kept, then an empty one, then each as it is told."""
        watcher: asyncio.Queue[bytes | None] = asyncio.Queue(BEHIND_MAX)
        mark = b'{"session":"' + shown.encode()
        kept = [line for name, each in self._kept.items() if name.startswith(shown) for line in each.lines]
        self._watchers.add(watcher)
        try:
            for line in kept:
                yield line
            yield b""
            while (line_or_end := await watcher.get()) is not None:
                if line_or_end.startswith(mark):
                    yield line_or_end
        finally:
            self._watchers.discard(watcher)

    @property
    def full(self) -> bool:
        """Whether one more watcher would be too many."""
        return len(self._watchers) >= WATCHERS_MAX

    def close(self) -> None:
        """Let every watcher go."""
        for watcher in tuple(self._watchers):
            self._let_go(watcher)

    def _pass(self, watcher: asyncio.Queue[bytes | None], line: bytes) -> None:
        if watcher.full():
            self._let_go(watcher)
        else:
            watcher.put_nowait(line)

    def _let_go(self, watcher: asyncio.Queue[bytes | None]) -> None:
        self._watchers.discard(watcher)
        while not watcher.empty():
            watcher.get_nowait()
        watcher.put_nowait(None)


def without_id(event: AnyEvent) -> AnyEvent:
    """The event as watchers may see it, without what only a replay needs."""
    if isinstance(event, Started):
        return msgspec.structs.replace(event, session=session_shown(event.session))
    if isinstance(event, Decided) and event.seen is not None:
        seen = msgspec.structs.replace(event.seen, downloads=event.seen.downloads[-1:], owned=(), memory=())
        return msgspec.structs.replace(event, seen=seen)
    return event

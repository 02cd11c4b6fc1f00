"""The events of all sessions, for whoever watches: kept for a while, then passed on as they happen.

Those of this process come from its desk, those of others that share its store by `server.relay`.

Watchers never learn a session's id, since knowing it is the right to use the session; they get its first characters.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
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
TO_FELLOWS_MAX = 1024
ALONE, TOGETHER = b"alone", b"together"
"""Told to watchers between the lines: from now on without, or again with, the sessions of other processes."""


class FeedLine(Record, frozen=True):
    """One event of one session. `at_s` is the server's clock, seconds since 1970."""

    session: Annotated[str, Meta(max_length=16)]
    title: str
    at_s: float
    event: AnyEvent


class _Heading(msgspec.Struct):
    session: str


class Feed:
    """Who tells what happened, and who watches. Telling never waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, deque[bytes]] = OrderedDict()
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._is_alone = False
        self.has_fellows = False
        self.to_fellows: deque[bytes] = deque(maxlen=TO_FELLOWS_MAX)
        """What other processes have not been told yet, if there are such."""

    def tell(self, session_id: str, title: str, events: Iterable[AnyEvent]) -> None:
        """Pass events of a session on, and keep them for those who come later."""
        shown = session_shown(session_id)
        for event in events:
            line = dumps(FeedLine(session=shown, title=title, at_s=self._clock(), event=without_id(event)))
            self._take(shown, line)
            if self.has_fellows:
                self.to_fellows.append(line)

    def hear(self, lines: Iterable[bytes]) -> None:
        """The same for lines that another process told."""
        for line in lines:
            self._take(msgspec.json.decode(line, type=_Heading).session, line)

    def be_alone(self, is_alone: bool) -> None:
        """Whether other processes cannot be heard; watchers are told when that changes."""
        if is_alone != self._is_alone:
            self._is_alone = is_alone
            self._pass_on(ALONE if is_alone else TOGETHER)

    def _take(self, shown: str, line: bytes) -> None:
        kept = self._kept.get(shown)
        if kept is None:
            kept = self._kept[shown] = deque(maxlen=LINES_KEPT)
            if len(self._kept) > SESSIONS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(shown)
        kept.append(line)
        self._pass_on(line)

    def _pass_on(self, line: bytes) -> None:
        for watcher in tuple(self._watchers):
            self._pass(watcher, line)

    async def watch(self, shown: str = "") -> AsyncIterator[bytes]:
        """Lines of all sessions, or of one: first those kept, then an empty one, then each as it is told; ALONE and
        TOGETHER where that begins."""
        watcher: asyncio.Queue[bytes | None] = asyncio.Queue(BEHIND_MAX)
        mark = b'{"session":"' + shown.encode()
        kept = [line for name, each in self._kept.items() if name.startswith(shown) for line in each]
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
    def watched(self) -> bool:
        return bool(self._watchers)

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

"""Which titles the library has, and how long they are, without reading each of them again for every listing.

The list of folders is read again when the library folder itself has changed. A title is read again when its title.json
has. A folder without a title.json is looked at each time: one may be copied into it slowly.
"""

from __future__ import annotations

import logging
import os
import time
from bisect import bisect_right
from typing import NamedTuple

from abr.core.title import TITLE_FILE
from abr.errors import StorageError, ToprungError
from server.media.library import IDENTIFIER, Library
from server.media.live_title import State, load_live

UNSETTLED_S = 2.0
"""A folder changed so lately may change again without its time telling: clocks of file systems are coarse."""

log = logging.getLogger("toprung.media")


class TitleSummary(NamedTuple):
    """What a listing tells of a title. live: what it is in, for a live one; it lasts as long as what can be watched."""

    id: str
    duration_s: float
    live: State | None = None


class TitleIndex:
    """The titles of one library. Its methods block, and one runs at a time."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._changed_ns = -1
        """When the library folder changed last; -1 when that is not to be relied on."""
        self._folders: list[str] = []
        self._read: dict[str, tuple[tuple[int, int], TitleSummary | None]] = {}
        """By id: time and size of the title.json that was read, and what it said; None when it cannot be read."""

    def page(self, after: str = "", count: int | None = None) -> tuple[list[TitleSummary], bool]:
        """The titles that follow id `after`, at most `count`, and whether more follow. StorageError when unreadable."""
        self._refresh()
        found: list[TitleSummary] = []
        for name in self._folders[bisect_right(self._folders, after) :]:
            if len(found) == count:
                return found, True
            if (summary := self._summary(name)) is not None:
                found.append(summary)
        return found, False

    def _refresh(self) -> None:
        """Reads the names of the folders anew when the library folder has changed."""
        root = self._library.root
        try:
            changed_ns = root.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return
            with os.scandir(root) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            changed_ns, names = -1, []
        except OSError as error:
            raise StorageError(f"Cannot list the library {root}: {error.strerror}.") from error
        self._folders = sorted(filter(IDENTIFIER.fullmatch, names))
        self._read = {name: self._read[name] for name in self._folders if name in self._read}
        self._changed_ns = changed_ns if time.time_ns() - changed_ns > UNSETTLED_S * 1e9 else -1

    def _summary(self, name: str) -> TitleSummary | None:
        """None for a folder that is no title, or one that cannot be read; the log says that once."""
        try:
            status = (self._library.root / name / TITLE_FILE).stat()
        except OSError:
            self._read.pop(name, None)
            return self._live(name)
        version = status.st_mtime_ns, status.st_size
        known = self._read.get(name)
        if known is None or known[0] != version:
            known = self._read[name] = version, self._load(name)
        return known[1]

    def _live(self, name: str) -> TitleSummary | None:
        """A live title is read each time: it changes with each segment."""
        try:
            if (folder := self._library.live_folder(name)) is None:
                return None
            live = load_live(folder)
        except ToprungError as error:
            log.warning("live title %s is left out: %s", name, error)
            return None
        return TitleSummary(name, live.duration_s, live.state_at(time.time()))

    def _load(self, name: str) -> TitleSummary | None:
        try:
            return TitleSummary(name, self._library.title(name).duration_s)
        except ToprungError as error:
            log.warning("title %s is left out: %s", name, error)
            return None

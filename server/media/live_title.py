"""What a library knows of a live title: a stream that is running, or has ended, and is not prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from abr.core.live.tables import SILENT_MIN_S, SILENT_SEGMENTS
from abr.core.title import Count, Identifier, Positive, Seconds, Version
from abr.records import Record, load

LIVE_FILE = "live.json"
TIME_FILE = "time"
"""Beside a live title's manifests, and made when it is asked for: the server's clock (ISO/IEC 23009-1, 5.8.4.11)."""
WHOLE_FOLDER = "whole"
"""The standard manifests once more, as if there were no chunks: a session that advises does so for whole segments."""
LIVE_MANIFEST = "public, max-age=1"
"""A manifest of a running stream is soon another one."""

State = Literal["waiting", "running", "paused", "interrupted", "ended"]


class LiveTitle(Record, frozen=True):
    """`live.json`: written anew with each segment. Segments are 0-based.

    state: waiting for the first segment, running, paused while its source has gone and is waited for, or ended in good
    order. version: of its media, new with each start. updated_s: when this was written, in seconds since 1970.
    waits_s: how long from then on a source that has gone is waited for. first_segment, segments: those that manifests
    list. shed, eased: rungs that are not made now, or with less effort, since the ladder fell behind. duration_s: how
    long the listed segments last together. segment_chunks: of a usual segment. chunks: of the segment under way.
    recipe, begun_s: what it is encoded with, hashed, and seconds since 1970 at its media time 0: by these another
    process goes on where this one was killed.
    """

    id: Identifier
    state: State
    version: Version
    segment_s: Seconds
    window_s: Seconds
    updated_s: float
    waits_s: float = 0.0
    first_segment: Count = 0
    segments: Count = 0
    shed: tuple[Identifier, ...] = ()
    eased: tuple[Identifier, ...] = ()
    duration_s: float = 0.0
    segment_chunks: Positive = 1
    chunks: Count = 0
    recipe: str = ""
    begun_s: float = 0.0

    @property
    def end(self) -> int:
        """The segment that is under way: those before it are whole."""
        return self.first_segment + self.segments

    @property
    def is_open(self) -> bool:
        """Whether more is to come, as far as is known."""
        return self.state in ("running", "paused")

    def has(self, segment: int, chunk: int) -> bool:
        """Whether a chunk (0-based) of a segment has come, or the segment is whole."""
        return segment < self.end or (segment == self.end and chunk < self.chunks)

    def state_at(self, now_s: float) -> State:
        """As it is now: a running stream whose process was killed tells nobody."""
        silent_s = now_s - self.updated_s
        patience_s = max(SILENT_MIN_S, SILENT_SEGMENTS * self.segment_s) + self.waits_s
        if self.is_open and silent_s > patience_s:
            return "interrupted"
        return self.state

    @property
    def _shed(self) -> str:
        return f", without {', '.join(self.shed)}: it fell behind" if self.shed else ""

    def describe(self, now_s: float) -> str:
        """One sentence."""
        return {
            "waiting": f"The live stream {self.id!r} has not begun: its source has not sent a whole segment yet.",
            "running": f"{self.id!r} is a live stream that is running{self._shed}.",
            "paused": f"The source of the live stream {self.id!r} has gone; it goes on if that comes back soon.",
            "interrupted": f"The live stream {self.id!r} was interrupted; what it sent before can still be watched.",
            "ended": f"The live stream {self.id!r} has ended; its last minutes can still be watched.",
        }[self.state_at(now_s)]


def load_live(folder: Path) -> LiveTitle:
    """Raises FormatError when it is not valid, StorageError when it cannot be read."""
    return load(folder / LIVE_FILE, LiveTitle)

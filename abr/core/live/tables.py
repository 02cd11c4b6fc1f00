"""What decisions for a live title rest on: the sizes of the segments that are there, and what a usual one is worth.

`tables.json` of a live title holds it, written anew with each segment, whole, and no larger than the window makes it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from abr.core.enhancement import EnhancementTable
from abr.core.live.learning import LiveLearning
from abr.core.title import Count, Identifier, Positive, Seconds, Title
from abr.errors import FormatError
from abr.records import Record

TABLES_FILE = "tables.json"
SEGMENTS_MAX = 100_000
"""Stored segments of a title that is believed."""

Sizes = Annotated[tuple[Positive, ...], Meta(max_length=SEGMENTS_MAX)]


class LiveTables(Record, frozen=True, omit_defaults=True):
    """A live title at one moment. Segments are 0-based, from the stream's beginning; all are there that are named.

    begun_s: seconds since 1970 when media time 0 was: the MPD's @availabilityStartTime. latency_s: how far behind the
    clock of the stream players are told to be. first_stored: the first segment that can be fetched; first_listed, end:
    manifests list those from first_listed to before end. sizes, sound_sizes: bytes of each stored segment, of each
    rendition, and of the sound (nothing without). last_frames: of the segment before end; a stream's last one may be
    shorter than the others. typical: a title of one usual segment, with what it is worth in each rendition;
    enhancements: the same of what may lift it. measured: whether that was measured on this stream, or is assumed.
    learning: how its own networks come along; None where nothing is trained while it runs.
    """

    typical: Title
    state: Literal["running", "ended"]
    updated_s: float
    begun_s: float
    window_s: Seconds
    latency_s: Seconds
    first_stored: Count
    first_listed: Count
    end: Count
    last_frames: Positive
    sizes: Annotated[dict[Identifier, Sizes], Meta(max_length=64)]
    sound_sizes: Sizes = ()
    enhancements: EnhancementTable | None = None
    measured: bool = False
    learning: LiveLearning | None = None

    @property
    def segment_s(self) -> float:
        """Of a usual segment."""
        return self.typical.segment_duration_s[0]

    @property
    def end_s(self) -> float:
        """Media time where the newest segment ends."""
        return self.begin_s(self.end - 1) + self.last_frames / self.typical.fps

    def begin_s(self, segment: int) -> float:
        """Media time where a segment begins."""
        return segment * self.typical.segment_frames[0] / self.typical.fps

    def duration_s(self, segment: int) -> float:
        """Of a segment that is there, or of one to come."""
        return self.last_frames / self.typical.fps if segment == self.end - 1 else self.segment_s

    def frames(self, segment: int) -> int:
        """How many pictures it has."""
        return self.last_frames if segment == self.end - 1 else self.typical.segment_frames[0]

    def check(self, what: str) -> None:
        """Raises FormatError, naming `what`, when its parts do not fit each other."""
        stored, title = self.end - self.first_stored, self.typical
        counts = (
            len(title.segment_frames) == len(title.segment_duration_s) == 1,
            all(len(rendition.segment_bytes) == 1 for rendition in title.renditions),
            set(self.sizes) == {rendition.id for rendition in title.renditions} != set(),
            0 < stored <= SEGMENTS_MAX and all(len(sizes) == stored for sizes in self.sizes.values()),
            len(self.sound_sizes) == (stored if title.audio else 0),
            self.first_stored <= self.first_listed < self.end,
        )
        if not all(counts):
            raise FormatError(f"{what} cannot be relied on: its parts do not fit each other.")

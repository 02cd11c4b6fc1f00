"""What decisions for a live title rest on: the sizes of the segments that are there, and what a usual one is worth.

`tables.json` of a live title holds it, written anew with each segment, whole, and no larger than the window makes it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta

from abr.core.enhancement import EnhancementTable
from abr.core.live.learning import LiveLearning
from abr.core.live.timeline import LiveTimeline, Span
from abr.core.title import Count, Identifier, Seconds, Title
from abr.errors import FormatError
from abr.records import Record

TABLES_FILE = "tables.json"
SEGMENTS_MAX = 100_000
"""Stored segments of a title that is believed."""
SPANS_MAX = 10_000
SILENT_SEGMENTS, SILENT_MIN_S = 5, 20.0
"""A stream that has had nothing new for longer than both was interrupted: it waits ten seconds by itself for a source
that sends nothing, before it says so, and a process that was killed is begun again within less."""

Sizes = Annotated[tuple[Count, ...], Meta(max_length=SEGMENTS_MAX)]


class LiveTables(Record, frozen=True, omit_defaults=True):
    """A live title at one moment. Segments are 0-based, from the stream's beginning; all are there that are named.

    spans: from that of the first stored segment on; the last one may be about to begin. latency_s: how far behind the
    clock of the stream players are told to be. first_stored: the first segment that can be fetched; first_listed,
    end: manifests list those from first_listed to before end. sizes, sound_sizes: bytes of each stored segment, of each
    rendition, 0 where it was not made, and of the sound (nothing without). shed, eased: rungs that are not made now, or
    with less effort, since the ladder fell behind. waits_s: how long from updated_s on a source that has gone is waited
    for. chunk_frames: of the chunks that a segment is offered in while it is under way; 0: it is offered whole.
    typical: a title of one usual segment, with what it is worth in each rendition; enhancements: the same of what may
    lift it. measured: whether that was measured on this stream, or is assumed. learning: how its own networks come
    along; None where nothing is trained while it runs.
    """

    typical: Title
    state: Literal["running", "ended"]
    updated_s: float
    spans: Annotated[tuple[Span, ...], Meta(min_length=1, max_length=SPANS_MAX)]
    window_s: Seconds
    latency_s: Seconds
    first_stored: Count
    first_listed: Count
    end: Count
    sizes: Annotated[dict[Identifier, Sizes], Meta(max_length=64)]
    sound_sizes: Sizes = ()
    shed: tuple[Identifier, ...] = ()
    eased: tuple[Identifier, ...] = ()
    waits_s: Annotated[float, Meta(ge=0)] = 0.0
    chunk_frames: Count = 0
    enhancements: EnhancementTable | None = None
    measured: bool = False
    learning: LiveLearning | None = None

    @property
    def segment_s(self) -> float:
        """Of a usual segment."""
        return self.typical.segment_duration_s[0]

    @property
    def grows(self) -> bool:
        """Whether the segment under way can be fetched, chunk by chunk: not while the source has gone."""
        return self.state == "running" and not self.waits_s and self.chunk_frames > 0

    @property
    def timeline(self) -> LiveTimeline:
        """Where segments begin, from the first stored one on."""
        return LiveTimeline(self.typical.segment_frames[0], self.spans)

    @property
    def ladder(self) -> str:
        """What is made of it now: whole, eased or shed."""
        return "shed" if self.shed else "eased" if self.eased else "whole"

    @property
    def begun_s(self) -> float:
        """Seconds since 1970 when media time 0 was, by the clock of what comes now."""
        return self.spans[-1].begun_s

    @property
    def end_s(self) -> float:
        """Media time where the newest segment ends."""
        return self.begin_s(self.end)

    def begin_s(self, segment: int) -> float:
        """Media time where a segment begins, stored or to come."""
        return self.timeline.begin(segment) / self.typical.fps

    def came_s(self, segment: int) -> float:
        """Seconds since 1970 when a segment's first picture came."""
        return self.timeline.span_of(segment).begun_s + self.begin_s(segment)

    def segment_at(self, media_s: float) -> int:
        """The segment that has the picture of a media time, stored or to come."""
        return self.timeline.segment_at(media_s * self.typical.fps)

    def duration_s(self, segment: int) -> float:
        """Of a segment, stored or to come."""
        return self.frames(segment) / self.typical.fps

    def frames(self, segment: int) -> int:
        """How many pictures it has."""
        return self.timeline.frames(segment)

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
            self.spans[0].first_segment <= self.first_stored and self._spans_rise(),
        )
        if not all(counts):
            raise FormatError(f"{what} cannot be relied on: its parts do not fit each other.")

    def _spans_rise(self) -> bool:
        """Whether each span has as many segments as its pictures need."""
        usual, spans = self.typical.segment_frames[0], self.spans
        return all(
            before.number < after.number
            and (frames := after.first_frame - before.first_frame) > 0
            and -(-frames // usual) == after.first_segment - before.first_segment
            for before, after in pairwise(spans)
        )

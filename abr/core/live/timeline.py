"""Where the segments of a running stream begin: all are as long, but the last one before a break."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from abr.core.title import Count, Identifier, Positive
from abr.records import Record


class Span(Record, frozen=True):
    """A stretch of a stream without a break of its source, and without a change of its ladder.

    number: 0 for the stream's first. first_segment, first_frame: where it begins, counted from the stream's beginning.
    begun_s: seconds since 1970 when media time 0 was by the clock of this span: what a break took is added to it.
    breaks: before it, and break_segment, break_frame: where the last one was. without: rungs that are not made in it.
    """

    number: Count
    first_segment: Count
    first_frame: Count
    begun_s: float
    breaks: Count = 0
    break_segment: Count = 0
    break_frame: Count = 0
    without: tuple[Identifier, ...] = ()

    @property
    def follows_break(self) -> bool:
        """Or else a change of the ladder, or nothing."""
        return self.breaks > 0 and self.first_frame == self.break_frame

    def after_break(self, segment: int, frame: int) -> Span:
        """What follows when the source breaks off there; its clock is still to be known."""
        return Span(
            number=self.number + 1,
            first_segment=segment,
            first_frame=frame,
            begun_s=self.begun_s,
            breaks=self.breaks + 1,
            break_segment=segment,
            break_frame=frame,
            without=self.without,
        )

    def after_change(self, segment: int, frame: int, without: tuple[str, ...]) -> Span:
        """What follows when the ladder changes there."""
        return msgspec.structs.replace(
            self, number=self.number + 1, first_segment=segment, first_frame=frame, without=without
        )

    def whole(self) -> Span:
        """From the last break on, whatever the ladder was. Its number counts breaks."""
        return msgspec.structs.replace(
            self, number=self.breaks, first_segment=self.break_segment, first_frame=self.break_frame, without=()
        )


@dataclass(frozen=True, slots=True)
class LiveTimeline:
    """Spans in order, at least one; segments before the first of them are not asked for. segment_frames: usually."""

    segment_frames: Positive
    spans: tuple[Span, ...]

    def span_of(self, segment: int) -> Span:
        """The last span that begins with the segment or before it."""
        return next((each for each in reversed(self.spans) if each.first_segment <= segment), self.spans[0])

    def begin(self, segment: int) -> int:
        """The first frame of a segment, there or to come."""
        span = self.span_of(segment)
        return span.first_frame + (segment - span.first_segment) * self.segment_frames

    def frames(self, segment: int) -> int:
        """Of a segment, there or to come."""
        return self.begin(segment + 1) - self.begin(segment)

    def segment_at(self, frame: float) -> int:
        """The segment that has a frame, there or to come."""
        span = next((each for each in reversed(self.spans) if each.first_frame <= frame), self.spans[0])
        following = [each.first_segment for each in self.spans if each.number > span.number]
        segment = span.first_segment + int((frame - span.first_frame) // self.segment_frames)
        return min([segment, *(first - 1 for first in following)])

    def unbroken(self) -> LiveTimeline:
        """The same without changes of the ladder: spans count breaks."""
        return LiveTimeline(self.segment_frames, tuple({span.breaks: span.whole() for span in self.spans}.values()))

    def since(self, segment: int) -> LiveTimeline:
        """Without the spans that have ended before that segment."""
        first = self.span_of(segment).number
        return LiveTimeline(self.segment_frames, tuple(each for each in self.spans if each.number >= first))

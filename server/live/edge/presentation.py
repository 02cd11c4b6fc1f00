"""A running stream at one moment, as its manifests tell it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate

from abr.core.live.timeline import LiveTimeline, Span
from abr.core.title import AudioTrack, Rendition, SubtitleTrack, Version
from server.ingest.audio import FRAME_SAMPLES, RATE_HZ
from server.ingest.encode_settings import Cuts
from server.live.clock import WallClock
from server.live.ladder.shedding import WHOLE_LADDER, Ladder


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePresentation:
    """A running stream at one moment. It has what all manifests need (`Shown`).

    segment_frames: of a usual segment; those before a break may have fewer. clock: of the stream's first span. first:
    the first listed segment (0-based). frames: of each listed segment. spans: that of the first listed segment and all
    that follow; one may be about to begin. ladder: what is made now. waits_s: how long a source that has gone is waited
    for. chunk_frames: of the chunks that segments are offered in while they are under way; 0 for none. chunks: of the
    segment under way.
    """

    name: str
    display_width_px: int
    display_height_px: int
    frame_rate: tuple[int, int]
    segment_frames: int
    window_s: float
    clock: WallClock
    renditions: tuple[Rendition, ...]
    audio: tuple[AudioTrack, ...]
    first: int
    frames: tuple[int, ...]
    published_s: float
    ended: bool
    spans: tuple[Span, ...] = ()
    waits_s: float = 0.0
    ladder: Ladder = WHOLE_LADDER
    version: Version = ""
    chunk_frames: int = 0
    chunks: int = 0
    subtitles: tuple[SubtitleTrack, ...] = ()
    """A running stream has none so far."""

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(*self.frame_rate)

    @property
    def segment_s(self) -> float:
        """Of a usual segment."""
        return float(self.segment_frames / self.rate)

    @property
    def timeline(self) -> LiveTimeline:
        """From the first listed segment on."""
        whole = Span(number=0, first_segment=0, first_frame=0, begun_s=self.clock.begun_s)
        return LiveTimeline(self.segment_frames, self.spans or (whole,))

    @property
    def begin_s(self) -> Fraction:
        """Media time at which the first listed segment begins."""
        return self.timeline.begin(self.first) / self.rate

    def instant(self, segment: int, media_s: float) -> str:
        """The moment of a media time in a segment, as xs:dateTime and RFC 3339 have it."""
        return WallClock(self.timeline.span_of(segment).begun_s).instant(media_s)

    @property
    def sound_ends(self) -> tuple[int, ...]:
        """AAC frames from the stream's beginning to where the first listed segment begins, and to where each ends.

        As `LiveSound` cuts: a segment has one AAC frame at least.
        """
        begins = accumulate(self.frames, initial=self.timeline.begin(self.first))
        return tuple(accumulate(map(self.sound_end, begins), lambda before, end: max(before + 1, end)))

    @property
    def durations_s(self) -> tuple[float, ...]:
        """Of the listed segments."""
        return tuple(float(frames / self.rate) for frames in self.frames)

    @property
    def cuts(self) -> Cuts:
        """Where segments and chunks begin."""
        return Cuts(self.rate, self.segment_frames, self.chunk_frames or self.segment_frames)

    @property
    def is_early(self) -> bool:
        """Whether segments are offered while they are under way: not while the source has gone."""
        return not self.ended and not self.waits_s and self.cuts.chunks > 1

    @property
    def end(self) -> int:
        """The segment that is under way."""
        return self.first + len(self.frames)

    def made(self, segment: int) -> tuple[Rendition, ...]:
        """The renditions of a segment, there or to come."""
        without = self.timeline.span_of(segment).without
        return tuple(rendition for rendition in self.renditions if rendition.id not in without)

    def unbroken(self) -> LivePresentation:
        """As if its ladder had never changed."""
        return replace(self, spans=self.timeline.unbroken().spans)

    def by_span(self) -> list[LivePresentation]:
        """What is listed of each span; those of which nothing is are left out."""
        timeline, found = self.timeline, []
        bounds = [*(span.first_segment for span in timeline.spans[1:]), self.end]
        for place, until in enumerate(bounds):
            first, end = max(self.first, timeline.spans[place].first_segment), min(until, self.end)
            if first < end:
                frames = self.frames[first - self.first : end - self.first]
                found.append(replace(self, first=first, frames=frames, spans=timeline.spans[place:]))
        return found

    @property
    def period_start_s(self) -> float:
        """Where the first span begins on the timeline of manifests: what the breaks before it took counts."""
        span = self.timeline.spans[0]
        return float(span.first_frame / self.rate) + span.begun_s - self.clock.begun_s

    @property
    def period_s(self) -> float:
        """From where the first span begins to the end of what is listed; no later span is."""
        return float(self.begin_s + (sum(self.frames) - self.timeline.spans[0].first_frame) / self.rate)

    def whole(self) -> LivePresentation:
        """The same, of whole segments only."""
        return replace(self, chunk_frames=0, chunks=0)

    def ahead(self, segments: int) -> LivePresentation:
        """With so many segments more that are under way or to come."""
        return replace(self, frames=(*self.frames, *[self.segment_frames] * segments))

    def sound_end(self, frames: int) -> int:
        """Where the sound of the first `frames` pictures ends, in AAC frames, as `LiveSound` cuts it.

        To the nearest, and before a break what fits in whole.
        """
        end = frames / self.rate * RATE_HZ / FRAME_SAMPLES
        return int(end) if any(span.follows_break and span.first_frame == frames for span in self.spans) else round(end)

"""From what a source sends to frames on the stream's grid, and the sound beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from abr.media.source_frames import shown_frames
from server.ingest.encode import Break
from server.ingest.encode_settings import Cuts
from server.live.clock import Kind, SourceClock
from server.live.ladder.shedding import WHOLE_LADDER, Ladder
from server.live.publication import Publication
from server.live.recording import Recording
from server.live.samples.process import SampledProcess
from server.live.sound import LiveSound
from server.live.source.early_sound import drop_oldest
from server.live.source.reader import Arrived
from server.live.source.spans import SourceSpan

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who is told of the frames on their way to the encoders."""

    publication: Publication
    sound: LiveSound | None = None
    recording: Recording | None = None
    sampled: Sequence[SampledProcess] = ()


class LivePictures:
    """Gives the frames to encode, and tells everybody else of them on the way.

    waits_s: asked when a span has ended, how long another one is waited for; 0: no more will come. ladder: asked before
    each segment, what is to be made of it. first_frame, first_segment: of a stream that goes on where it was killed.
    """

    def __init__(
        self,
        spans: Iterable[SourceSpan],
        cuts: Cuts,
        listeners: Listeners,
        waits_s: Callable[[], float],
        ladder: Callable[[], Ladder] = lambda: WHOLE_LADDER,
        *,
        first_frame: int = 0,
        first_segment: int = 0,
    ) -> None:
        self.frames, self.jumps = first_frame, 0
        """Given so far, and how often the source's clock was mended."""
        self._segments = first_segment
        """That spans before this one had."""
        self._spans, self._cuts, self._to, self._waits_s = spans, cuts, listeners, waits_s
        self._wanted, self._ladder = ladder, WHOLE_LADDER
        self._holds_from = 0
        """The segment from which `_ladder` is made: manifests may have announced what comes before it."""

    def on_grid(self) -> Iterator[VideoFrame | Break]:
        """Frames as a viewer sees them, their pts counting from 0, time base 1/rate, and breaks between spans."""
        for source in self._spans:
            if self.frames:
                self._to.publication.resume(source.first_picture_s)
            span = SpanPictures(source, self._to, self.frames / self._cuts.rate)
            yield from self._span_on_grid(span)
            self.jumps += span.clock.jumps
            yield break_for(self._ladder)

    def _span_on_grid(self, span: SpanPictures) -> Iterator[VideoFrame | Break]:
        rate, length, first = self._cuts.rate, self._cuts.segment_frames, self.frames
        publication, sound = self._to.publication, self._to.sound
        last_came_s = 0.0
        for count, frame in enumerate(span.shown()):
            segment, into = divmod(count, length)
            if count and not into:
                publication.note_last_frame(self._segments + segment - 1, last_came_s)
            if count and sound is not None and into % self._cuts.chunk_frames == 0:
                sound.close_chunk(self.frames / rate, closes_segment=not into)
            if count and not into:
                yield from self._changed_ladder(self._segments + segment)
            last_came_s = span.take_arrival()
            frame.pts = self.frames
            if self._to.recording is not None:
                self._to.recording.add(frame)
            for process in self._to.sampled:
                process.watch(frame, self._segments + segment, into)
            self.frames += 1
            yield frame
        self._segments += -(-(self.frames - first) // length)
        self._holds_from = min(self._holds_from, self._segments)
        publication.close_span(self._segments, self.frames, waits_s=self._waits_s())
        publication.note_last_frame(self._segments - 1, last_came_s)
        if sound is not None:
            sound.finish(self.frames / rate)

    def _changed_ladder(self, segment: int) -> Iterator[Break]:
        if segment > self._holds_from and (wanted := self._wanted()) != self._ladder:
            self._ladder = wanted
            self._holds_from = self._to.publication.change_ladder(segment, self.frames, wanted)
        if segment == self._holds_from:
            yield break_for(self._ladder)


def break_for(ladder: Ladder) -> Break:
    """After it the encoders make that ladder."""
    return Break(without=frozenset(ladder.without), eased=frozenset(ladder.eased))


class SpanPictures:
    """The pictures of one span, and its sound on the way.

    Its first picture is at media time `begin_s`. Sound before it is left out.
    """

    def __init__(self, source: SourceSpan, listeners: Listeners, begin_s: Fraction) -> None:
        self.clock = SourceClock()
        self._source, self._to, self._begin_s = source, listeners, begin_s
        self._origin_s: Fraction | None = None
        self._early: deque[Arrived] = deque()
        """Sound that came before a picture that has a time."""
        self._came_s = self._came_before_s = 0.0
        self._is_new = False

    def shown(self) -> Iterator[VideoFrame]:
        """Frames as a viewer sees them, on the grid that begins with the first one."""
        return shown_frames(self._pictures(), self._source.footage, self._source.filters, Fraction(0))

    def take_arrival(self) -> float:
        """When the frame that the grid gives now came: it was held until the next one came, or repeated since."""
        came_s = self._came_before_s if self._is_new else self._came_s
        self._is_new = False
        return came_s

    def _pictures(self) -> Iterator[VideoFrame]:
        import av

        for arrived in self._source.arrivals:
            frame, came_s = arrived
            if isinstance(frame, av.VideoFrame):
                self._came_before_s, self._came_s = self._came_s or came_s, came_s
                self._is_new = True
                yield self._placed(frame)
            elif self._to.sound is None:
                continue
            elif self._origin_s is None:
                self._early.append(arrived)
                drop_oldest(self._early)
            else:
                self._hear(frame, self._to.sound)

    def _placed(self, frame: VideoFrame) -> VideoFrame:
        """The picture at its time since the first one; one without a time follows the one before it."""
        if frame.pts is None or not frame.time_base:
            return frame
        time_s = frame.pts * frame.time_base
        lasts_s = (frame.duration or 0) * frame.time_base or 1 / self._source.footage.rate
        shift_s = self.clock.shift(Kind.PICTURES, time_s, lasts_s)
        if self._origin_s is None:
            self._origin_s = time_s + shift_s
        frame.pts += round((shift_s - self._origin_s) / frame.time_base)
        media_s = self._begin_s + frame.pts * frame.time_base
        self._to.publication.note_picture(self._came_s, float(media_s))
        if self._to.sound is not None:
            self._hear_early(self._to.sound)
            self._to.sound.follow(media_s)
        return frame

    def _hear_early(self, sound: LiveSound) -> None:
        import av

        while self._early:
            frame = self._early.popleft().frame
            if isinstance(frame, av.AudioFrame):
                self._hear(frame, sound)

    def _hear(self, frame: AudioFrame, sound: LiveSound) -> None:
        if frame.pts is None or not frame.time_base or self._origin_s is None:
            sound.add(frame, None)
            return
        time_s = frame.pts * frame.time_base
        shift_s = self.clock.shift(Kind.SOUND, time_s, Fraction(frame.samples, frame.sample_rate))
        sound.add(frame, float(time_s + shift_s - self._origin_s + self._begin_s))

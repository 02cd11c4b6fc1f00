"""From what a source sends to frames on the stream's grid, and the sound beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from abr.media.display_filters import display_filters
from abr.media.probe import SourceInfo
from abr.media.source_frames import shown_frames
from server.ingest.encode_settings import Cuts
from server.live.clock import Kind, SourceClock
from server.live.publication import Publication
from server.live.recording import Recording
from server.live.samples.process import SampledProcess
from server.live.sound import LiveSound, drop_oldest
from server.live.source.reader import Arrived

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame


class LivePictures:
    """Gives the frames to encode, and tells everybody else of them on the way.

    Media time 0 is the first picture. Sound before it is left out.
    """

    def __init__(
        self,
        arrivals: Iterable[Arrived],
        footage: SourceInfo,
        cuts: Cuts,
        publication: Publication,
        sound: LiveSound | None,
        recording: Recording | None,
        sampled: Sequence[SampledProcess] = (),
    ) -> None:
        self.clock = SourceClock()
        self.frames = 0
        """Given so far."""
        self._arrivals, self._footage, self._cuts = arrivals, footage, cuts
        self._publication, self._sound, self._recording = publication, sound, recording
        self._sampled = sampled
        self._origin_s: Fraction | None = None
        self._early: deque[Arrived] = deque()
        """Sound that came before a picture that has a time."""
        self._came_s = self._came_before_s = 0.0
        self._is_new = False

    def on_grid(self) -> Iterator[VideoFrame]:
        """Frames as a viewer sees them, their pts counting from 0, time base 1/rate."""
        rate, length = self._footage.rate, self._cuts.segment_frames
        last_came_s = 0.0
        for frame in shown_frames(self._pictures(), self._footage, display_filters(self._footage), Fraction(0)):
            into = self.frames % length
            if self.frames and not into:
                self._publication.note_last_frame(self.frames // length - 1, last_came_s)
            if self.frames and self._sound is not None and into % self._cuts.chunk_frames == 0:
                self._sound.close_chunk(self.frames / rate, closes_segment=not into)
            last_came_s = self._take_arrival()
            if self._recording is not None:
                self._recording.add(frame)
            for process in self._sampled:
                process.watch(frame, self.frames)
            self.frames += 1
            yield frame
        self._publication.set_end(self.frames)
        self._publication.note_last_frame((self.frames - 1) // length, last_came_s)
        if self._sound is not None:
            self._sound.finish(self.frames / rate)

    def _take_arrival(self) -> float:
        """When the frame that the grid gives now came: it was held until the next one came, or repeated since."""
        came_s = self._came_before_s if self._is_new else self._came_s
        self._is_new = False
        return came_s

    def _pictures(self) -> Iterator[VideoFrame]:
        import av

        for arrived in self._arrivals:
            frame, came_s = arrived
            if isinstance(frame, av.VideoFrame):
                self._came_before_s, self._came_s = self._came_s or came_s, came_s
                self._is_new = True
                yield self._placed(frame)
            elif self._sound is None:
                continue
            elif self._origin_s is None:
                self._early.append(arrived)
                drop_oldest(self._early)
            else:
                self._hear(frame, self._sound)

    def _placed(self, frame: VideoFrame) -> VideoFrame:
        """The picture at its media time; one without a time follows the one before it."""
        if frame.pts is None or not frame.time_base:
            return frame
        time_s = frame.pts * frame.time_base
        lasts_s = (frame.duration or 0) * frame.time_base or 1 / self._footage.rate
        shift_s = self.clock.shift(Kind.PICTURES, time_s, lasts_s)
        if self._origin_s is None:
            self._origin_s = time_s + shift_s
        frame.pts += round((shift_s - self._origin_s) / frame.time_base)
        self._publication.note_picture(self._came_s, float(frame.pts * frame.time_base))
        if self._sound is not None:
            self._hear_early(self._sound)
            self._sound.follow(frame.pts * frame.time_base)
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
        sound.add(frame, float(time_s + shift_s - self._origin_s))

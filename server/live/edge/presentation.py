"""A running stream at one moment, as its manifests tell it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from abr.core.title import AudioTrack, Rendition, SubtitleTrack, Version
from server.ingest.audio import FRAME_SAMPLES, RATE_HZ
from server.ingest.encode_settings import Cuts
from server.live.clock import WallClock


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePresentation:
    """A running stream at one moment. It has what all manifests need (`Shown`).

    segment_frames: of a usual segment; all but the last have as many. first: the first listed segment (0-based).
    frames: of each listed segment. sound_ends: AAC frames from the stream's beginning to where the first listed segment
    begins, and to where each ends. chunk_frames: of the chunks that segments are offered in while they are under way;
    0 for none. chunks: of the segment under way, so far.
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
    sound_ends: tuple[int, ...]
    published_s: float
    ended: bool
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
    def begin_s(self) -> Fraction:
        """Media time at which the first listed segment begins."""
        return self.first * self.segment_frames / self.rate

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
        """Whether segments are offered while they are under way."""
        return not self.ended and self.cuts.chunks > 1

    @property
    def end(self) -> int:
        """The segment that is under way."""
        return self.first + len(self.frames)

    def whole(self) -> LivePresentation:
        """The same, of whole segments only."""
        return replace(self, chunk_frames=0, chunks=0)

    def ahead(self, segments: int) -> LivePresentation:
        """With so many segments more that are under way or to come."""
        ends = [self.sound_end((self.end + index + 1) * self.segment_frames) for index in range(segments)]
        return replace(
            self, frames=(*self.frames, *[self.segment_frames] * segments), sound_ends=(*self.sound_ends, *ends)
        )

    def sound_end(self, frames: int) -> int:
        """Where the sound of the first `frames` pictures ends, to the nearest AAC frame, as `LiveSound` cuts it."""
        return round(frames / self.rate * RATE_HZ / FRAME_SAMPLES)

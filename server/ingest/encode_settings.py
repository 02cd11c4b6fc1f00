"""What the user may choose when a title is prepared, and where segments and their chunks begin."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.title import Count, Positive
from abr.display_height import DISPLAY_MAX_PX, DISPLAY_MIN_PX
from abr.media.video_codecs import VideoCodec
from abr.records import Record
from server.ingest.kernels import KernelWish
from server.ingest.subtitles.tracks import SubtitleFile


class CodecSettings(Record, frozen=True):
    """How one ladder is encoded. crf, preset: as the codec's encoder has them (`server.ingest.encoders.encoder`)."""

    codec: VideoCodec
    crf: Annotated[float, Meta(ge=0, le=63)]
    preset: str


class EncodeSettings(Record, frozen=True):
    """Everything besides the source that decides what a title becomes.

    codec, crf, preset: of the first ladder, as CodecSettings has them. also: of further ladders of the same rungs.
    heights_px: rungs along the short side, or None for the usual ladder. caps_bps: (height, bits per second) pairs.
    planned: (height, CRF) of each rung by rising bitrate, instead of `heights_px` and `crf`.
    vmaf_every: one frame in so many is scored. panel_every: one segment in so many is judged by the panel; 0 for none.
    subtitles: files beside the source. hdr: ladders that stay in high dynamic range, where the source has it.
    opus: sounds are in Opus too. imsc: subtitles are IMSC text too. trick_play: key frames are a rung of their own.
    display_px: short side of a display above the source's size, which the source is lifted to; None for its own size.
    """

    heights_px: tuple[Positive, ...] | None = None
    caps_bps: tuple[tuple[Positive, Positive], ...] = ()
    codec: VideoCodec = VideoCodec.H264
    crf: Annotated[float, Meta(ge=0, le=63)] = 25.0
    planned: tuple[tuple[Positive, Annotated[float, Meta(ge=0, le=51)]], ...] = ()
    preset: str = "faster"
    also: tuple[CodecSettings, ...] = ()
    segment_s: Annotated[float, Meta(ge=0.5, le=30)] = 2.0
    audio_bps: Annotated[int, Meta(ge=16_000, le=512_000)] = 128_000
    vmaf_every: Positive = 7
    panel_every: Count = 3
    subtitles: tuple[SubtitleFile, ...] = ()
    hdr: tuple[CodecSettings, ...] = ()
    kernels: KernelWish = KernelWish.AUTO
    """When the title tells the blur of its source; what is encoded does not depend on it."""
    opus: bool = False
    imsc: bool = False
    trick_play: bool = False
    display_px: Annotated[int, Meta(ge=DISPLAY_MIN_PX, le=DISPLAY_MAX_PX, multiple_of=2)] | None = None

    @property
    def by_codec(self) -> dict[VideoCodec, EncodeSettings]:
        """The settings of each ladder by itself, in the order of ladders."""
        first = msgspec.structs.replace(self, also=())
        more = (
            msgspec.structs.replace(first, codec=each.codec, crf=each.crf, preset=each.preset) for each in self.also
        )
        return {each.codec: each for each in (first, *more)}

    @property
    def for_hdr(self) -> EncodeSettings:
        """The settings of the ladders in high dynamic range, of which there must be some."""
        first, *also = self.hdr
        return msgspec.structs.replace(
            self, codec=first.codec, crf=first.crf, preset=first.preset, also=tuple(also), planned=(), hdr=()
        )

    def describe(self) -> str:
        """One line that names every setting: equal settings, equal line. Part of `title.json`."""
        heights = ",".join(map(str, self.heights_px)) if self.heights_px else "auto"
        if self.planned:
            heights = ",".join(f"{height}@{crf:g}" for height, crf in self.planned)
        caps = ",".join(f"{height}={bps}" for height, bps in sorted(self.caps_bps)) or "auto"
        more = "".join(f"{each.codec} preset {each.preset}, crf {each.crf:g}, " for each in self.also)
        return (
            f"preset {self.preset}, crf {self.crf:g}, {more}heights {heights}, caps {caps}, "
            f"segments {self.segment_s:g} s, aac {self.audio_bps}, vmaf every {self.vmaf_every}, "
            f"panel every {self.panel_every} segments"
            + "".join(f", hdr {each.codec} preset {each.preset}, crf {each.crf:g}" for each in self.hdr)
            + "".join(f", subtitles {each.language} of {each.sha256[:12]}" for each in self.subtitles)
            + (", opus" if self.opus else "")
            + (", imsc" if self.imsc else "")
            + (", trick play" if self.trick_play else "")
            + (f", display {self.display_px}p" if self.display_px else "")
        )


def segment_length(recipe: EncodeSettings, rate: Fraction) -> int:
    """Frames in a segment: the whole number nearest to `segment_s`."""
    return max(1, round(recipe.segment_s * rate))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEncoding:
    """How a running stream is encoded.

    chunk_frames: segments are written in parts of so many frames too, as soon as each is there (the last one of a
    segment may be shorter); 0 for none. first_segment: the number of the first one (0-based), where others were encoded
    before.
    """

    chunk_frames: int = 0
    first_segment: int = 0


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where segments and their chunks begin, in frames."""

    rate: Fraction
    segment_frames: int
    chunk_frames: int

    @property
    def chunks(self) -> int:
        """Of a usual segment."""
        return -(-self.segment_frames // self.chunk_frames)

    @property
    def chunk_us(self) -> int:
        """For the muxer, which ends a chunk before the first frame that begins so many microseconds after its first."""
        return int((self.chunk_frames - Fraction(1, 2)) / self.rate * 1_000_000)

    def chunk_ends(self, frames: int) -> list[int]:
        """Of a segment of so many frames: where each of its chunks ends, counted from its first frame."""
        return [*range(self.chunk_frames, frames, self.chunk_frames), frames]


def chunk_length(segment_frames: int, rate: Fraction, chunk_s: float) -> int:
    """Frames in a chunk: a segment has as many chunks as come nearest to `chunk_s`, all but its last as long."""
    chunks = max(1, round(segment_frames / (rate * Fraction(chunk_s)))) if chunk_s else 1
    return -(-segment_frames // chunks)

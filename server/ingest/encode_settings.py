"""What the user may choose when a title is prepared, and the x264 options that follow."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from msgspec import Meta

from abr.core.title import Count, Positive
from abr.records import Record
from server.ingest.ladder import Rung
from server.ingest.subtitles.tracks import SubtitleFile

CAP_WINDOW_S = 1.5
"""A rung may overdraw its cap for this long (the VBV buffer)."""

LEAST_EFFORT = "ultrafast"
_SETS = {"ultrafast": (1, 0, 0), "faster": (2, 1, 0), "fast": (2, 1, -2), "medium": (3, 2, -2)}
"""Reference frames, weighted prediction and the chroma's QP offset of x264's presets, where they are not 1, 1 and 0."""


class EncodeSettings(Record, frozen=True):
    """Everything besides the source that decides what a title becomes.

    heights_px: rungs along the short side, or None for the usual ladder. caps_bps: (height, bits per second) pairs.
    planned: (height, CRF) of each rung by rising bitrate, instead of `heights_px` and `crf`.
    vmaf_every: one frame in so many is scored. panel_every: one segment in so many is judged by the panel; 0 for none.
    subtitles: files beside the source.
    """

    heights_px: tuple[Positive, ...] | None = None
    caps_bps: tuple[tuple[Positive, Positive], ...] = ()
    crf: Annotated[float, Meta(ge=0, le=51)] = 25.0
    planned: tuple[tuple[Positive, Annotated[float, Meta(ge=0, le=51)]], ...] = ()
    preset: str = "faster"
    segment_s: Annotated[float, Meta(ge=0.5, le=30)] = 2.0
    audio_bps: Annotated[int, Meta(ge=16_000, le=512_000)] = 128_000
    vmaf_every: Positive = 7
    panel_every: Count = 3
    subtitles: tuple[SubtitleFile, ...] = ()

    def describe(self) -> str:
        """One line that names every setting: equal settings, equal line. Part of `title.json`."""
        heights = ",".join(map(str, self.heights_px)) if self.heights_px else "auto"
        if self.planned:
            heights = ",".join(f"{height}@{crf:g}" for height, crf in self.planned)
        caps = ",".join(f"{height}={bps}" for height, bps in sorted(self.caps_bps)) or "auto"
        return (
            f"preset {self.preset}, crf {self.crf:g}, heights {heights}, caps {caps}, "
            f"segments {self.segment_s:g} s, aac {self.audio_bps}, vmaf every {self.vmaf_every}, "
            f"panel every {self.panel_every} segments"
            + "".join(f", subtitles {each.language} of {each.sha256[:12]}" for each in self.subtitles)
        )


def describe_encoder(recipe: EncodeSettings) -> str:
    """Encoder, versions and settings: equal words and an equal source make an equal title."""
    import av

    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"libx264 and aac by PyAV {av.__version__} (libavcodec {version}); {recipe.describe()}"


def segment_length(recipe: EncodeSettings, rate: Fraction) -> int:
    """Frames in a segment: the whole number nearest to `segment_s`."""
    return max(1, round(recipe.segment_s * rate))


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


def x264_options(
    rung: Rung, recipe: EncodeSettings, *, threads: int | None = None, low_delay: bool = False, eased: bool = False
) -> dict[str, str]:
    """Options for FFmpeg's libx264 encoder; without `threads` x264 chooses their number.

    low_delay: no frame waits for those that follow it, as x264's tune zerolatency has it. eased: with the least effort
    that leaves the parameter sets as they are, so that segments of both kinds fit one init segment.

    No B-frames: decode order is display order, so that every player, with or without support for edit lists and
    signed composition offsets, sees a segment begin exactly where it begins. Parameter sets are repeated in band
    (avc3), so that segments of different rungs may follow one another. Key frames come only where they are forced.
    """
    private = {
        "repeat-headers": "1",
        "scenecut": "0",
        "keyint": "infinite",
        "bframes": "0",
        "open-gop": "0",
        "sar": "{}/{}".format(*rung.pixel_aspect),
        "colorprim": "bt709",
        "transfer": "bt709",
        "colormatrix": "bt709",
        "range": "tv",
    }
    if low_delay:
        private |= {"rc-lookahead": "0", "sync-lookahead": "0", "mbtree": "0", "sliced-threads": "1"}
    if eased:
        private |= _same_sets(recipe.preset)
    options = {
        "preset": LEAST_EFFORT if eased else recipe.preset,
        "crf": f"{recipe.crf if rung.crf is None else rung.crf:g}",
        "profile": "high",
        "threads": "auto" if threads is None else str(threads),
        "forced-idr": "1",
        "x264-params": ":".join(f"{key}={value}" for key, value in private.items()),
    }
    if rung.cap_bps:
        options["maxrate"] = str(rung.cap_bps)
        options["bufsize"] = str(int(rung.cap_bps * CAP_WINDOW_S))
    return options


def _same_sets(preset: str) -> dict[str, str]:
    """What x264's preset of least effort must do as `preset` does: it stands in the parameter sets."""
    refs, weights, chroma = _SETS.get(preset, (1, 1, 0))
    is_less = str(int(preset != LEAST_EFFORT))
    same = {"ref": str(refs), "weightp": str(weights), "chroma-qp-offset": str(chroma)}
    return same | {"cabac": is_less, "8x8dct": is_less}

"""What a title is made of: renditions, sounds, subtitles, thumbnails, chapters, and what is told of all of them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from abr.core.title.fields import (
    AudioRole,
    Chromaticity,
    Count,
    Identifier,
    Language,
    Positive,
    Seconds,
    SubtitleRole,
    TrackName,
)
from abr.records import Record

LICENCE_URL = r"^(https?://[^\s\"<>]+|/[^\s\"<>]*)?$"


class Rendition(Record, frozen=True):
    """One encoding of the title: a rung of the bitrate ladder, a DASH Representation."""

    id: Identifier
    width_px: Positive
    height_px: Positive
    codecs: str
    """RFC 6381, such as avc3.64001F (see abr.media.video_codecs)."""
    bandwidth_bps: Positive
    """Bits per second of its largest segment: the honest DASH @bandwidth."""
    average_bps: Positive
    init_bytes: Positive
    segment_bytes: tuple[Positive, ...]

    @property
    def sample_entry(self) -> str:
        """The four characters that name the codec: the same in all renditions of one ladder."""
        return self.codecs.partition(".")[0]


class AudioTrack(Record, frozen=True, omit_defaults=True):
    """One audio encoding, cut at the same spans as the video as nearly as its frames allow. language: BCP 47.

    name: what the source calls it; may be empty. The first of a title's tracks is the one that plays unless asked.
    """

    id: Identifier
    codecs: str
    bandwidth_bps: Positive
    sample_rate_hz: Positive
    channels: Positive
    init_bytes: Positive
    segment_bytes: tuple[Positive, ...]
    language: Language = "und"
    name: TrackName = ""
    role: AudioRole = "main"


class SubtitleTrack(Record, frozen=True, omit_defaults=True):
    """One track of subtitles, whole in one file of WebVTT. language, name: as an AudioTrack's.

    imsc_bytes: of each segment, where it is there as IMSC text in MP4 too.
    """

    id: Identifier
    size_bytes: Positive
    language: Language = "und"
    name: TrackName = ""
    role: SubtitleRole = "subtitle"
    imsc_bytes: tuple[Positive, ...] = ()


class Thumbnails(Record, frozen=True):
    """Small pictures for the seek bar, in sheets of columns × rows, row by row. The last sheet may end in black.

    every_s: seconds from one picture to the next; the first is that of instant 0. width_px, height_px: of one picture.
    """

    every_s: Seconds
    width_px: Positive
    height_px: Positive
    columns: Positive
    rows: Positive
    sheet_bytes: tuple[Positive, ...]

    @property
    def sheet_s(self) -> float:
        """Seconds of the title that one whole sheet shows."""
        return self.every_s * self.columns * self.rows


class MasteringDisplay(Record, frozen=True):
    """The display that a film was mastered on (SMPTE ST 2086).

    red, green, blue, white: chromaticity (x, y) in steps of 0.00002. Luminance in steps of 0.0001 cd/m².
    """

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    luminance_max: Count
    luminance_min: Count


class HdrColour(Record, frozen=True, omit_defaults=True):
    """What codes of BT.2100 stand for: PQ (HDR10) or HLG, and what the film says of its light (CTA-861.3).

    max_cll_nits: of its brightest pixel, max_fall_nits: of its brightest picture on average, cd/m²; 0: not told.
    """

    transfer: Literal["pq", "hlg"]
    mastering: MasteringDisplay | None = None
    max_cll_nits: Annotated[int, Meta(ge=0, le=65535)] = 0
    max_fall_nits: Annotated[int, Meta(ge=0, le=65535)] = 0


class Hdr(Record, frozen=True):
    """Bitrate ladders in high dynamic range beside the others, for players whose display has it; ladder by ladder."""

    colour: HdrColour
    renditions: tuple[Rendition, ...]


class Protection(Record, frozen=True, omit_defaults=True):
    """How pictures and sound are encrypted (ISO/IEC 23001-7). key_id: of the one content key, 32 hex digits.

    licence_url: where players ask for it (W3C Encrypted Media Extensions, 9.1.3); empty where they are given it.
    """

    scheme: Literal["cenc", "cbcs"]
    key_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    licence_url: Annotated[str, Meta(max_length=2000, pattern=LICENCE_URL)] = ""

    @property
    def key_uuid(self) -> str:
        """The key's id as manifests write it."""
        return str(UUID(self.key_id))


class Chapter(Record, frozen=True, omit_defaults=True):
    """A part of the title, from `start_s` to the next one or the end. name: may be empty."""

    start_s: Annotated[float, Meta(ge=0)]
    name: TrackName = ""

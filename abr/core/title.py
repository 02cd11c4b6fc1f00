"""What a prepared title is: renditions, segments, audio, and the quality of each when played plainly.

A title has a bitrate ladder for each codec that it comes in; nearly all have one. Whoever watches it keeps to one.

Index conventions: a ladder is lowest rung first; `segment` is 0-based everywhere in code. On the wire a
segment's `$Number$` is 1-based, DASH's default startNumber (ISO/IEC 23009-1, 5.3.9.5.3): number = segment + 1.

A title folder holds:

    title.json                         Title
    manifest.mpd  driven.mpd           standard and server-driven DASH manifests
    master.m3u8  <rendition>.m3u8 …    HLS playlists over the same files
    manifest-av1.mpd  driven-av1.mpd … of a title in several codecs or in HDR: the same of one ladder each
    manifest-imsc.mpd                  manifest.mpd with subtitles in IMSC text, where they are there
    video/trick-play/…                 the key frame of each segment alone, where asked for
    video/<rendition id>/init.mp4      video/<rendition id>/seg-00001.m4s …
    video/<rendition id>/init-avc1.mp4 the same as avc1, for standard manifests (init-hvc1.mp4 of HEVC, none of AV1)
    audio/<track id>/init.mp4          audio/<track id>/seg-00001.m4s …
    subtitles/<track id>.vtt           all cues of one track, WebVTT
    kernels.json  kernels.svg          the kernel track, where one was made, and a plot of it
    subtitles/<track id>/init.mp4      subtitles/<track id>/seg-00001.m4s …: the same as IMSC text, where asked for
    chapters.json                      the chapters, as HLS has them, where there are any
    thumbnails/sheet-00001.jpg …       small pictures for the seek bar, many in one file
    plans.bin                          plans for common devices (see abr.controllers.toprung.plan_file)
    enhancements.json                  EnhancementTable, once trained or priced (see abr.core.enhancement)
    enhancers/…                        the weights chunks that the table names
    .enhancements.json                 the table of a title that may not be enhanced: kept, and never served
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from abr.errors import InputError
from abr.records import Record, load

Positive = Annotated[int, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Language = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}$")]
TrackName = Annotated[str, Meta(max_length=200)]
AudioRole = Literal["main", "alternate", "dub", "commentary", "description"]
"""Roles of ISO/IEC 23009-1, 5.8.5.5; `main` is the first track's, `description` is for who cannot see."""
SubtitleRole = Literal["subtitle", "caption", "forced-subtitle", "commentary"]
"""Likewise; `caption` tells sounds too, for who cannot hear."""
Chromaticity = tuple[Annotated[int, Meta(ge=0, le=65535)], Annotated[int, Meta(ge=0, le=65535)]]
Version = Annotated[str, Meta(pattern=r"^([0-9a-f]{16})?$")]

LICENCE_URL = r"^(https?://[^\s\"<>]+|/[^\s\"<>]*)?$"

TITLE_FILE = "title.json"
TRICK_PLAY = "trick-play"
"""The rendition, and its folder, of single key frames."""
CHAPTERS_FILE = "chapters.json"


class PanelFigures(Record, frozen=True):
    """What further meters (`abr.quality.panel`) say of some segments, each judged by one of its frames.

    segment: the judged ones, ascending. figures: member's name → one figure for each of these, in the member's unit.
    """

    segment: tuple[Count, ...]
    figures: dict[str, tuple[float, ...]]

    def __hash__(self) -> int:
        return hash((self.segment, frozenset(self.figures.items())))


class Quality(Record, frozen=True, omit_defaults=True):
    """Mean quality of each segment as shown at display size, against the source. One entry a segment.

    vmaf, vmaf_neg: 0–100. ssim: 0–1. psnr_y_db: decibels, at most 60 (capped, so that means stay finite).
    panel: None where no further meters were asked. trusted: VMAF points, 0–100, that the panel attests to a lifted
    picture (`abr.quality.trusted`); empty where nothing says otherwise than VMAF.
    """

    vmaf: tuple[float, ...]
    vmaf_neg: tuple[float, ...]
    ssim: tuple[float, ...]
    psnr_y_db: tuple[float, ...]
    panel: PanelFigures | None = None
    trusted: tuple[float, ...] = ()


class Meter(Record, frozen=True, omit_defaults=True):
    """How quality was measured, so that a figure names its maker."""

    vmaf_model: str
    vmaf_neg_model: str
    tool: str
    """Program and version that computed the metrics."""
    scaler: str
    """The scaler of plain playback, from rendition size to display size."""
    every_frames: Positive
    """One frame in this many was scored (motion is still computed on every frame)."""
    crop: tuple[Count, Count, Count, Count]
    """The picture inside letterbox borders, at display size: x, y, width, height in pixels."""
    black_luma_max: float
    """Frames whose source luma averages below this (8-bit code value) are left out of every mean."""
    panel_every_segments: Count = 0
    """The panel judged one frame in every so many segments; 0 when it was not asked."""


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


class Source(Record, frozen=True):
    """The file that the title was prepared from.

    filters: what turned its coded pictures into the display's, FFmpeg filters as (name, arguments); none for upright
    progressive BT.709 of an even size.
    """

    name: str
    sha256: str
    width_px: Positive
    height_px: Positive
    duration_s: Seconds
    filters: tuple[tuple[str, str], ...] = ()


class Title(Record, frozen=True):
    """One prepared piece of content. `plain_quality` maps rendition id to its quality without enhancement."""

    id: Identifier
    display_width_px: Positive
    display_height_px: Positive
    frame_rate: tuple[Positive, Positive]
    """Frames per second as numerator, denominator."""
    segment_duration_s: tuple[Seconds, ...]
    segment_frames: tuple[Positive, ...]
    renditions: tuple[Rendition, ...]
    """Ladder by ladder."""
    audio: tuple[AudioTrack, ...]
    source: Source
    plain_quality: dict[str, Quality]
    meter: Meter
    encoder: str
    """Encoder, version and settings, in words."""
    schema: int = 1
    version: Version = ""
    """The start of the SHA-256 over its init and media segments: part of their URLs. Empty where it is not known."""
    no_enhancement: Literal[True] | UnsetType = UNSET
    """Set where the title's makers do not want its pictures enhanced: nothing offers, trains or imports enhancers."""
    subtitles: tuple[SubtitleTrack, ...] = ()
    thumbnails: Thumbnails | None = None
    chapters: tuple[Chapter, ...] = ()
    """By their start."""
    hdr: Hdr | UnsetType = UNSET
    """For standard manifests alone: sessions, enhancers and quality know the renditions above."""
    trick_play: Rendition | UnsetType = UNSET
    """The key frame of each segment alone; for standard manifests. A segment has one, which lasts as long as it."""
    protection: Protection | UnsetType = UNSET
    """Set where pictures and sound are encrypted: nothing offers, trains or imports enhancers then either."""

    @property
    def may_be_enhanced(self) -> bool:
        """Whether its makers permit it, and its frames can be read."""
        return not self.no_enhancement and not self.protection

    def check_enhancement(self) -> None:
        """Raises InputError for a title that may not be enhanced."""
        if self.protection:
            raise InputError(
                f"{self.id} is protected, so that its frames cannot be read for enhancers. "
                "Train first, and protect then; to begin anew, prepare it again (--force)."
            )
        if self.no_enhancement:
            raise InputError(
                f"{self.id} may not be enhanced: its title.json says no_enhancement. "
                f"If its makers agree, permit it with toprung set {self.id} --enhancement."
            )

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frame_rate[0] / self.frame_rate[1]

    @property
    def duration_s(self) -> float:
        """Media seconds of all segments."""
        return sum(self.segment_duration_s)

    @property
    def ladders(self) -> tuple[tuple[Rendition, ...], ...]:
        """The bitrate ladders: one for each codec, H.264 first where there is one."""
        return _by_codec(self.renditions)

    @property
    def hdr_ladders(self) -> tuple[tuple[Rendition, ...], ...]:
        """Those in high dynamic range: one for each codec that has it."""
        return _by_codec(self.hdr.renditions if self.hdr else ())

    @property
    def files(self) -> tuple[Rendition, ...]:
        """All renditions that the folder holds segments of, and that are shown at their rate."""
        return self.renditions + (self.hdr.renditions if self.hdr else ())

    @property
    def by_ladder(self) -> tuple[Title, ...]:
        """The title as those see it who keep to one ladder, for each: itself where it has but one."""
        if not self.is_mixed:
            return (self,)
        return tuple(msgspec.structs.replace(self, renditions=ladder, hdr=UNSET) for ladder in self.ladders)

    @property
    def is_mixed(self) -> bool:
        """Whether it has ladders in several codecs, or in high dynamic range too."""
        return len(self.ladders) > 1 or bool(self.hdr)

    def ladder_of(self, rendition_id: str) -> tuple[Rendition, ...]:
        """The ladder that a rendition is a rung of; raises KeyError."""
        entry = self.rendition(rendition_id).sample_entry
        return tuple(each for each in self.renditions if each.sample_entry == entry)

    def rendition(self, rendition_id: str) -> Rendition:
        """The rendition called `rendition_id`; raises KeyError."""
        for rendition in self.renditions:
            if rendition.id == rendition_id:
                return rendition
        raise KeyError(rendition_id)


def _by_codec(renditions: Iterable[Rendition]) -> tuple[tuple[Rendition, ...], ...]:
    found: dict[str, list[Rendition]] = {}
    for rendition in renditions:
        found.setdefault(rendition.sample_entry, []).append(rendition)
    return tuple(map(tuple, found.values()))


def load_title(folder: Path) -> Title:
    """The title in `folder`. Raises InputError when that is no title folder, FormatError when it is damaged."""
    if not (folder / TITLE_FILE).is_file():
        raise InputError(f"{folder} is no title folder: it has no {TITLE_FILE}. Give LIBRARY/TITLE.")
    return load(folder / TITLE_FILE, Title)


def segment_file(segment: int) -> str:
    """File name of a 0-based segment: seg-00001.m4s for segment 0."""
    return f"seg-{segment + 1:05d}.m4s"


def sheet_file(sheet: int) -> str:
    """File name of a 0-based sheet of thumbnails: sheet-00001.jpg for sheet 0."""
    return f"sheet-{sheet + 1:05d}.jpg"


def part_file(segment: int, part: int) -> str:
    """File name of a part of a 0-based segment while it is under way: seg-00001.1.m4s for part 0 of segment 0."""
    return f"seg-{segment + 1:05d}.{part + 1}.m4s"

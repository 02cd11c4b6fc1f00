"""The title itself, as title.json holds it, and the names of its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from abr.core.title.fields import Identifier, Positive, Seconds, Version
from abr.core.title.figures import Meter, Quality
from abr.core.title.tracks import AudioTrack, Chapter, Hdr, Protection, Rendition, SubtitleTrack, Thumbnails
from abr.errors import InputError
from abr.records import Record, load

TITLE_FILE = "title.json"
INIT_FILE = "init.mp4"
"""The init segment of each rendition and track."""
LIFTED_FILE = ".lifted.mkv"
"""In a title's folder, kept and never served: its source lifted to a display above its own size."""
TRICK_PLAY = "trick-play"
"""The rendition, and its folder, of single key frames."""
CHAPTERS_FILE = "chapters.json"


class Source(Record, frozen=True):
    """The file that the title was prepared from.

    filters: what turned its coded pictures into the display's, FFmpeg filters as (name, arguments); none for upright
    progressive BT.709 of an even size. lifted: where the display is larger than the source, the sha256 of LIFTED_FILE,
    whose pictures stand for the source's wherever rungs are compared with them.
    """

    name: str
    sha256: str
    width_px: Positive
    height_px: Positive
    duration_s: Seconds
    filters: tuple[tuple[str, str], ...] = ()
    lifted: str | UnsetType = UNSET


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

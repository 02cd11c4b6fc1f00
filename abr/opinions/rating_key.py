"""Clips that people rate, and the key that says what they are: what `toprung bench pairs` writes into a folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from abr.records import Record, load

KEY_FILE = "key.json"
SCRIPT_FILE = "two_clips.js"

Against = Literal["same rung", "next rung", "equal bits"]


class Clip(Record, frozen=True):
    """What one file of the folder shows. rate_bps: of the rung, without weights.

    squeezed_to: the lifted rung to whose bytes, at most `bytes_max`, a plain picture of this size was compressed;
    empty for a title's own. quality: trusted, of the segment, by the title's tables; None where they do not tell.
    """

    file: str
    segment: int
    rendition: str
    enhancer: str
    rate_bps: float
    squeezed_to: str = ""
    bytes_max: int = 0
    quality: float | None = None

    @property
    def condition(self) -> str:
        """Rung and enhancer: what votes over all segments count for."""
        return f"{self.rendition} {self.enhancer}" + (f" as {self.squeezed_to}" if self.squeezed_to else "")


class Attested(Record, frozen=True):
    """What meters say of a lifted picture: the medians of `abr.quality.trusted`, VMAF of the step and of the lift."""

    fidelity: float
    detail: float
    step: float
    lift: float


class Comparison(Record, frozen=True):
    """Two files that are shown against each other. attested: None where the title tells too little of a panel."""

    lifted: str
    plain: str
    against: Against
    attested: Attested | None = None

    @property
    def pair(self) -> frozenset[str]:
        """The two files."""
        return frozenset((self.lifted, self.plain))


class RatingKey(Record, frozen=True):
    """What the page does not tell: which file is what. `set` names these clips, in votes too."""

    set: str
    title: str
    source_sha256: str
    clips: tuple[Clip, ...]
    comparisons: tuple[Comparison, ...]
    schema: int = 1


def read_key(folder: Path) -> RatingKey:
    """The key of a folder of pairs. Raises FormatError or StorageError."""
    return load(folder / KEY_FILE, RatingKey)


def two_clips_script() -> str:
    """The script that pages show two clips with: a module, which pages from the disk have put in."""
    return (files("abr.opinions") / SCRIPT_FILE).read_text("utf-8")

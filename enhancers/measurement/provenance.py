"""Whether a clip was seen when the generic weights were trained: by its bytes, or by what its pictures show.

`enhancers/weights/sources.tsv` has a row for every film and photograph that was seen, with the sha256 of its bytes and
perceptual hashes of some of its frames, where the bytes could be had. `python -m enhancers.measurement.provenance
DIR` writes both for the files in DIR that have the names of rows.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Literal

from abr.files import file_sha256, write_file
from abr.media.perceptual_hash import count_differing_bits, hash_frames
from enhancers.runtime.frames import decode_file

SOURCES_FILE = "sources.tsv"
NOT_HAD = "not had"
"""Stands in the columns `sha256` and `phash` of a source whose bytes could not be had when they were written."""
BITS_MAX = 8
"""Of 64: pictures that differ in no more show the same. Scaled and compressed copies differ in 0 to 6."""
_SOURCE_EVERY, _SOURCE_FRAMES = 30, 600
"""Training sees the first 600 frames of a film; one in 30 is hashed."""
_CLIP_EVERY, _CLIP_FRAMES = 5, 6000
_FRAMES_ALIKE = 2
"""So many of a film's frames must be alike; of a photograph, or of a film with one hash, one is all there is."""

By = Literal["bytes", "pictures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A film or photograph that was seen. sha256: None where its bytes could not be had, or not those of that size.

    hashes: none where no picture of it could be had, or where it is all plain.
    """

    name: str
    sha256: str | None
    hashes: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Which sources a clip is, and how that is known. unknown: sources that it could not be compared with."""

    seen: dict[str, By]
    sources: int
    unknown: int

    def as_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {"seen": self.seen, "sources": self.sources, "not_compared": self.unknown}

    def as_text(self) -> str:
        """One line."""
        if not self.seen:
            compared = f"{self.sources - self.unknown} of its {self.sources} sources could be compared"
            return f"This clip was not seen in the training of the generic weights; {compared}."
        named = ", ".join(f"{name} (by its {by})" for name, by in self.seen.items())
        return f"This clip WAS SEEN in the training of the generic weights, as {named}: their figures say little."


def read_sources(text: str | None = None) -> list[Source]:
    """The rows of `sources.tsv`; of the one that ships with the program unless given."""
    table = text if text is not None else (files("enhancers") / "weights" / SOURCES_FILE).read_text("utf-8")
    return [
        Source(
            name=row["film"],
            sha256=None if row["sha256"] == NOT_HAD else row["sha256"],
            hashes=[] if row["phash"] == NOT_HAD else [int(value, 16) for value in row["phash"].split()],
        )
        for row in csv.DictReader(StringIO(table), delimiter="\t")
    ]


def trace_clip(clip: Path, sources: Sequence[Source] | None = None) -> Provenance:
    """Compare a clip with what was seen in training. Raises MediaError when it cannot be decoded."""
    known = read_sources() if sources is None else sources
    sha256 = file_sha256(clip)
    hashes = hash_frames((frame.y for frame in decode_file(str(clip))), every=_CLIP_EVERY, frames_max=_CLIP_FRAMES)
    seen: dict[str, By] = {}
    for source in known:
        if source.sha256 == sha256:
            seen[source.name] = "bytes"
        elif _shows(source, hashes):
            seen[source.name] = "pictures"
    return Provenance(seen=seen, sources=len(known), unknown=sum(not (each.sha256 or each.hashes) for each in known))


def _shows(source: Source, hashes: Sequence[int]) -> bool:
    if not source.hashes or not hashes:
        return False
    alike = (count_differing_bits(source.hashes, hashes).min(axis=1) <= BITS_MAX).sum()
    return bool(alike >= min(_FRAMES_ALIKE, len(source.hashes)))


def hash_source(path: Path) -> list[int]:
    """Hashes of a film that training sees, or of a photograph. Raises MediaError."""
    return hash_frames((frame.y for frame in decode_file(str(path))), every=_SOURCE_EVERY, frames_max=_SOURCE_FRAMES)


def fill_in(table: str, folder: Path) -> str:
    """The table with sha256 and hashes of every row whose file is in the folder; other rows stay, or say NOT_HAD.

    Raises MediaError or StorageError for a file that cannot be read.
    """
    rows = list(csv.DictReader(StringIO(table), delimiter="\t"))
    out = StringIO()
    writer = csv.DictWriter(out, _columns(rows), delimiter="\t", lineterminator="\n", restval=NOT_HAD)
    writer.writeheader()
    for row in rows:
        path = folder / row["film"]
        writer.writerow(row | (_hashed(path) if path.is_file() else {}))
    return out.getvalue()


def _hashed(path: Path) -> dict[str, str]:
    return {"sha256": file_sha256(path), "phash": " ".join(f"{value:016x}" for value in hash_source(path))}


def _columns(rows: Sequence[dict[str, str]]) -> list[str]:
    given = list(rows[0]) if rows else ["film"]
    return given + [name for name in ("sha256", "phash") if name not in given]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill in `sources.tsv` from the files in a folder."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m enhancers.measurement.provenance", description=__doc__)
    parser.add_argument("folder", type=Path, help="films and photographs, under the names that the table has")
    parser.add_argument("--table", type=Path, default=Path(__file__).parents[1] / "weights" / SOURCES_FILE)
    options = parser.parse_args(arguments)
    write_file(options.table, fill_in(options.table.read_text("utf-8"), options.folder).encode())


if __name__ == "__main__":
    main(sys.argv[1:])

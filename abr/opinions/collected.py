"""Opinions that a server collected, one small file each time that somebody rated: written, and read as one test.

A file tells what was seen, in features and the title's name, the scores, and a number that binds the scores of one
sitting together. It is drawn by the page and forgotten with it: nothing tells who somebody was, or that somebody came
again.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from abr.errors import InputError, StorageError
from abr.files import read_bounded, write_atomically
from abr.opinions.dataset import FEATURES_MAX, RATERS_MAX, OpinionSet, Value, read_file
from abr.opinions.raters import SHARED_MIN
from abr.records import Record, dumps, loads

FILES_MAX = 100_000
FILE_BYTES_MAX = 4096
SUFFIX = ".opinion.json"

Sitting = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Score = Annotated[int, Meta(ge=1, le=5)]


class RatedItem(Record, frozen=True):
    """What was seen, and its score. file: names the item; another opinion of the same one has the same name."""

    file: Annotated[str, Meta(max_length=64)]
    content: Annotated[str, Meta(max_length=128)]
    score: Score
    features: Annotated[dict[Annotated[str, Meta(max_length=32)], Value], Meta(max_length=FEATURES_MAX)]


class CollectedOpinion(Record, frozen=True):
    """One file. sitting: drawn at random by the page."""

    sitting: Sitting
    items: Annotated[tuple[RatedItem, ...], Meta(min_length=1, max_length=2)]
    schema: int = 1


def keep_opinion(folder: Path, opinion: CollectedOpinion) -> None:
    """Write one more file, under a name that tells nothing. Raises StorageError."""
    write_atomically(folder / f"{secrets.token_hex(12)}{SUFFIX}", dumps(opinion))


def count_opinions(folder: Path) -> int:
    """Files that are there; 0 for a folder that is not. Raises StorageError."""
    return len(_files(folder))


def read_collected(folder: Path) -> OpinionSet:
    """All opinions of a folder as one test. Raises InputError when there are none, FormatError, StorageError."""
    paths = _files(folder)
    if not paths:
        raise InputError(f"{folder} holds no opinions (*{SUFFIX}).")
    return as_set(folder.name, [_read(path) for path in paths])


def read_opinions(path: Path) -> OpinionSet:
    """A test as a file, or the folder in which a server collects: that, or one that has it as `opinions`.

    Raises InputError, FormatError, StorageError.
    """
    if not path.is_dir():
        return read_file(path)
    inner = path / "opinions"
    return read_collected(inner if inner.is_dir() else path)


def as_set(name: str, opinions: Sequence[CollectedOpinion]) -> OpinionSet:
    """Of the same item in the same sitting the last score counts, as of items the features that came first.

    Sittings with a few scores share columns: nobody's agreement can be told from so few.
    """
    rows: dict[str, RatedItem] = {}
    votes: dict[tuple[str, str], int] = {}
    for opinion in opinions:
        for item in opinion.items:
            rows.setdefault(item.file, item)
            votes[item.file, opinion.sitting] = item.score
    counts = Counter(sitting for _, sitting in votes)
    own = [sitting for sitting, count in counts.items() if count >= SHARED_MIN][:RATERS_MAX]
    contents = sorted({item.content for item in rows.values()})
    return OpinionSet(
        name=name,
        scores=_columns(list(rows), {sitting: at for at, sitting in enumerate(own)}, votes),
        contents=np.array([contents.index(item.content) for item in rows.values()], dtype=np.intp),
        files=tuple(rows),
        features=tuple(item.features for item in rows.values()),
    )


def _columns(
    rows: Sequence[str], own: Mapping[str, int], votes: Mapping[tuple[str, str], int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(N, J) a column for each of `own`, and as many more as the item with most other votes needs."""
    row_of = {file: row for row, file in enumerate(rows)}
    others: Counter[str] = Counter(file for file, sitting in votes if sitting not in own)
    scores = np.full((len(rows), len(own) + max(others.values(), default=0)), np.nan)
    filled: Counter[str] = Counter()
    for (file, sitting), score in votes.items():
        column = own.get(sitting, len(own) + filled[file])
        filled[file] += sitting not in own
        scores[row_of[file], column] = score
    return scores


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    except OSError as error:
        raise StorageError(f"Cannot read {folder}: {error.strerror}.") from error
    if len(found) > FILES_MAX:
        raise InputError(f"{folder} holds {len(found)} opinions, more than the {FILES_MAX} that are taken.")
    return found


def _read(path: Path) -> CollectedOpinion:
    return loads(read_bounded(path, FILE_BYTES_MAX, what="opinion"), CollectedOpinion, what=str(path))

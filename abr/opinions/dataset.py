"""Opinion tests as files: who was shown what, and what score each gave.

A file is JSON: `items`, each with `file`, `content_id` and `scores`. `scores` is a list, one value an observer in the
same order in every item, or an object from subject to value; null is a missing vote. So `sureal`'s datasets look, once
their Python literals are turned into JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from abr.core.arrays import Floats, Indices
from abr.errors import FormatError, InputError
from abr.files import read_bounded
from abr.records import loads

FILE_BYTES_MAX = 32 << 20
ITEMS_MAX, RATERS_MAX, FEATURES_MAX = 20_000, 5_000, 32
SCORE_MIN, SCORE_MAX = 1, 5
"""Absolute category rating, ITU-T P.910 (2023): bad, poor, fair, good, excellent."""

Name = Annotated[str, Meta(max_length=256)]
Score = Annotated[float, Meta(ge=-1000, le=1000)]
Value = Annotated[float, Meta(ge=-1e12, le=1e12)]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that people saw. features: what is known of it, by name, in the place of what its file name tells."""

    file: Name
    content_id: int | Name
    scores: (
        Annotated[list[Score | None], Meta(max_length=RATERS_MAX)]
        | Annotated[dict[Name, Score | None], Meta(max_length=RATERS_MAX)]
    )
    features: Annotated[dict[Name, Value], Meta(max_length=FEATURES_MAX)] = {}


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What the items of one content were made from."""

    content_id: int | Name
    name: Name


class OpinionFile(msgspec.Struct, frozen=True, kw_only=True):
    """A test as a file. Fields that tell more of it are passed over."""

    items: Annotated[list[Item], Meta(min_length=1, max_length=ITEMS_MAX)]
    name: Name = ""
    scale: Name = ""
    references: Annotated[list[Reference], Meta(max_length=ITEMS_MAX)] = []


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpinionSet:
    """Scores of N items by J raters on the scale 1 to 5.

    scores: (N, J), NaN where a rater did not score an item. contents: (N,) the content of each item, counted from 0.
    files: their names. features: what the file tells of each item by name; empty where only its name tells.
    """

    name: str
    scores: Floats
    contents: Indices
    files: tuple[str, ...]
    features: tuple[dict[str, float], ...]

    def only(self, items: Indices) -> OpinionSet:
        """The same raters on some of the items."""
        return OpinionSet(
            name=self.name,
            scores=self.scores[items],
            contents=self.contents[items],
            files=tuple(self.files[item] for item in items),
            features=tuple(self.features[item] for item in items),
        )

    def with_scores(self, scores: Floats) -> OpinionSet:
        """The same items with other scores, (N, J)."""
        return OpinionSet(
            name=self.name, scores=scores, contents=self.contents, files=self.files, features=self.features
        )


def read_file(path: Path) -> OpinionSet:
    """Raises StorageError when it cannot be read, FormatError when it holds no opinions on a scale of 1 to 5."""
    return parse_opinions(read_bounded(path, FILE_BYTES_MAX, what="file of opinions"), what=str(path))


def parse_opinions(data: bytes, *, what: str) -> OpinionSet:
    """The content of a file. Raises FormatError, which calls it `what`."""
    parsed = loads(data, OpinionFile, what=what)
    subjects = _subjects(parsed.items, what)
    if len(subjects) > RATERS_MAX or len(subjects) * len(parsed.items) > ITEMS_MAX * 1000:
        raise FormatError(f"{what} has {len(subjects)} raters of {len(parsed.items)} items, more than are taken.")
    column = {subject: at for at, subject in enumerate(subjects)}
    scores = np.full((len(parsed.items), len(subjects)), np.nan)
    for row, item in enumerate(parsed.items):
        votes = item.scores.items() if isinstance(item.scores, dict) else enumerate(item.scores)
        for subject, score in votes:
            if score is not None:
                scores[row, column[subject]] = _checked(score, item.file, what)
    if np.isnan(scores).all(axis=1).any():
        row = int(np.isnan(scores).all(axis=1).argmax())
        raise FormatError(f"{what} has no score of {parsed.items[row].file[:100]!r}.")
    _, contents = np.unique([str(item.content_id) for item in parsed.items], return_inverse=True)
    return OpinionSet(
        name=parsed.name or Path(what).stem,
        scores=scores,
        contents=np.asarray(contents, dtype=np.intp).ravel(),
        files=tuple(item.file for item in parsed.items),
        features=tuple(item.features for item in parsed.items),
    )


def join(sets: Sequence[OpinionSet]) -> OpinionSet:
    """Several tests as one: nobody rated in two of them, and no content was shown in two."""
    if len(sets) == 1:
        return sets[0]
    if not sets:
        raise InputError("There are no opinions: give at least one file.")
    raters, first_rater, first_content = sum(each.scores.shape[1] for each in sets), 0, 0
    scores, contents = [], []
    for each in sets:
        block = np.full((len(each.files), raters), np.nan)
        block[:, first_rater : first_rater + each.scores.shape[1]] = each.scores
        scores.append(block)
        contents.append(each.contents + first_content)
        first_rater += each.scores.shape[1]
        first_content += int(each.contents.max()) + 1
    return OpinionSet(
        name=" + ".join(each.name for each in sets),
        scores=np.concatenate(scores),
        contents=np.concatenate(contents),
        files=tuple(file for each in sets for file in each.files),
        features=tuple(known for each in sets for known in each.features),
    )


def _subjects(items: Iterable[Item], what: str) -> list[int] | list[str]:
    """All who scored: numbers where scores are lists, which then are of one length."""
    listed = {len(item.scores) for item in items if isinstance(item.scores, list)}
    named = {subject for item in items if isinstance(item.scores, dict) for subject in item.scores}
    if listed and named:
        raise FormatError(f"{what} gives scores as lists and as objects; give all of them in one way.")
    if len(listed) > 1:
        raise FormatError(f"{what} has lists of {min(listed)} and of {max(listed)} scores; raters have one order.")
    return list(range(listed.pop())) if listed else sorted(named)


def _checked(score: float, file: str, what: str) -> float:
    if not math.isfinite(score) or score != int(score) or not SCORE_MIN <= score <= SCORE_MAX:
        raise FormatError(
            f"{what} has the score {score:g} for {file[:100]!r}; opinions are whole numbers from {SCORE_MIN} "
            f"to {SCORE_MAX} (absolute category rating)."
        )
    return score

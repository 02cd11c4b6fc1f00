"""Which network is better, on clips that no player has seen; and what the process that looks at them is told."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Annotated

from msgspec import Meta

from abr.federation.version import WEIGHTS_BYTES_MAX, ClipScore, Digest
from abr.records import Record

GAIN_MIN = 0.005
"""Points of VMAF-NEG that a candidate must be ahead of the version by."""
PSNR_LOSS_MAX_DB = 0.05
"""Of luma PSNR, that it may lose against what the program ships: all versions together, however many they are."""


class JudgeRequest(Record, frozen=True):
    """Look at a network: `current` moved by the numbers in `update` (float64, little-endian), or as it is.

    Both are paths; an empty `current` stands for the network that the program ships.
    """

    current: str = ""
    update: str = ""


class Judged(Record, frozen=True):
    """What it is, and how well it does. file: its weights, in the folder that the process was given.

    problem: why there is nothing; the rest is empty then.
    """

    file: Annotated[str, Meta(max_length=100)] = ""
    sha256: Digest | None = None
    size_bytes: Annotated[int, Meta(ge=0, le=WEIGHTS_BYTES_MAX)] = 0
    values: Annotated[int, Meta(ge=0)] = 0
    architecture: Annotated[str, Meta(max_length=64)] = ""
    scores: Annotated[tuple[ClipScore, ...], Meta(max_length=64)] = ()
    problem: Annotated[str, Meta(max_length=500)] = ""


Scores = Sequence[ClipScore]


def is_better(candidate: Scores, current: Scores, shipped: Scores) -> bool:
    """Whether a candidate is to be kept, by the means of the clips.

    It is ahead of the current version in VMAF-NEG, which a sharper picture alone does not raise, and has not bought
    that with luma PSNR.
    """
    if not current or [each.clip for each in candidate] != [each.clip for each in current]:
        return False
    ahead = _mean_neg(candidate) - _mean_neg(current)
    lost_db = _mean_db(shipped) - _mean_db(candidate)
    return ahead >= GAIN_MIN and lost_db <= PSNR_LOSS_MAX_DB


def _mean_neg(scores: Scores) -> float:
    return fmean(each.vmaf_neg for each in scores)


def _mean_db(scores: Scores) -> float:
    return fmean(each.psnr_y_db for each in scores)

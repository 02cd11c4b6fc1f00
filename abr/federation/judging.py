"""Which network is better, on clips that no player has seen; and what the process that looks at them is told."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Annotated

from msgspec import Meta

from abr.federation.version import WEIGHTS_BYTES_MAX, ClipScore, Digest
from abr.records import Record

GAIN_MIN_DB = 0.002
"""Of luma PSNR, that a candidate must be ahead by: less is the noise of rounding."""
NEG_LOSS_MAX = 0.05
"""Of VMAF-NEG, that it may lose by it."""


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


def is_better(candidate: Sequence[ClipScore], current: Sequence[ClipScore]) -> bool:
    """Whether a candidate is to be kept: ahead in luma PSNR, on the mean of the clips, and no worse by VMAF-NEG."""
    if not current or [each.clip for each in candidate] != [each.clip for each in current]:
        return False
    ahead_db = fmean(each.psnr_y_db for each in candidate) - fmean(each.psnr_y_db for each in current)
    ahead_neg = fmean(each.vmaf_neg for each in candidate) - fmean(each.vmaf_neg for each in current)
    return ahead_db >= GAIN_MIN_DB and ahead_neg >= -NEG_LOSS_MAX

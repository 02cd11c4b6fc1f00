"""When a network that learns a stream is published, taken back, or needs no more training. Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MARGIN = 0.2
"""Points of trusted quality that a publication must win, if it cost nothing."""
MARGIN_OF_ALL = 0.8
"""Points more where it takes all the bytes that may be published now."""
SURE = 1.0
"""Points of trusted quality by which one sample is enough. Otherwise a later publication must lead on two."""
PROBATION = 3
"""Samples on which a new publication is held against the former one."""
WORSE = -0.2
"""Points of trusted quality by which it may lose there, on average."""
VAIN_MAX = 4
"""Candidates in a row that do not lead by MARGIN: then training rests."""
WAKING = 1.2
"""Training goes on when the loss on new frames has grown by this factor: the scene has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """By how many points one lift is above another on the same samples, on average. samples: how many there are."""

    samples: int
    trusted: float
    vmaf_neg: float


def lead_of(ahead: Sequence[tuple[float, float]], behind: Sequence[tuple[float, float]]) -> Lead:
    """ahead, behind: trusted quality and VMAF-NEG on the same samples."""
    if not ahead:
        return Lead(samples=0, trusted=0.0, vmaf_neg=0.0)
    trusted, vmaf_neg = np.subtract(ahead, behind).mean(0)
    return Lead(samples=len(ahead), trusted=float(trusted), vmaf_neg=float(vmaf_neg))


def leads(lead: Lead) -> bool:
    """Whether it is better at all, by what is sure to be seen."""
    return lead.samples > 0 and lead.trusted >= MARGIN and lead.vmaf_neg > 0


def is_worth_its_bytes(lead: Lead, size_bytes: int, allowance_bytes: int) -> bool:
    """Whether to publish now: the more of the bytes that may be published it takes, the more it must win."""
    if size_bytes > allowance_bytes or not leads(lead):
        return False
    return lead.trusted >= MARGIN + MARGIN_OF_ALL * size_bytes / allowance_bytes


def is_tried(lead: Lead, *, is_first: bool) -> bool:
    """Whether it was held against what is published on enough samples: before the first one viewers cannot wait."""
    return lead.samples >= (1 if is_first or lead.trusted >= SURE else 2)


def is_to_be_taken_back(lead: Lead) -> bool:
    """lead: over the former publication, on samples since the newer one."""
    return lead.samples >= 2 and lead.trusted < WORSE


class SaturationDetector:
    """Whether more training is of use. It rests after VAIN_MAX candidates in vain, until the scene changes."""

    def __init__(self) -> None:
        self.is_resting = False
        self._vain = 0
        self._usual = 0.0
        """The loss on new frames, lately."""

    def note_candidate(self, has_led: bool) -> None:
        """A candidate was held against what is published."""
        self._vain = 0 if has_led else self._vain + 1
        self.is_resting = self._vain >= VAIN_MAX

    def note_loss(self, loss: float) -> bool:
        """The loss on frames before they are learnt from, as a share of what plain scaling has.

        Returns whether the scene has changed by it.
        """
        has_changed = bool(self._usual) and loss > WAKING * self._usual
        if has_changed:
            self.is_resting, self._vain = False, 0
        self._usual = loss if has_changed or not self._usual else 0.7 * self._usual + 0.3 * loss
        return has_changed

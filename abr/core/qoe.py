"""Quality of experience: one number for a whole session. Each model names its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.float64]

STALL_PER_S = 100.0
"""VMAF points, summed over segments, that one second of stall costs (0.1 a millisecond)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """A session in VMAF points: qoe = quality - oscillation - 100 × stall_s / segments.

    quality: mean over segments, of VMAF or of trusted quality, whichever was counted.
    """

    qoe: float
    quality: float
    oscillation: float
    stall_s: float


def experience(quality: Numbers, stall_s: float) -> Experience:
    """Mean quality less its mean change between neighbours less 0.1 for each millisecond of stall a segment (BONES).

    quality: (S,) VMAF points of the segments as shown, at least one.
    """
    values = np.asarray(quality, dtype=np.float64)
    mean = float(values.mean())
    oscillation = float(np.abs(np.diff(values)).mean()) if len(values) > 1 else 0.0
    qoe = mean - oscillation - STALL_PER_S * stall_s / len(values)
    return Experience(qoe=qoe, quality=mean, oscillation=oscillation, stall_s=stall_s)


def switches_per_minute(renditions: Sequence[object], media_s: float) -> float:
    """Changes of rendition between neighbouring segments, a minute of media: how restless the picture is.

    It is the third measure that SODA (Chen et al., SIGCOMM 2024) reports, beside quality and rebuffering. renditions:
    of the segments as shown, in order. media_s: how long they last, above 0.
    """
    return 60 * sum(a != b for a, b in pairwise(renditions)) / media_s


def linear(bitrate_bps: Numbers, stall_s: float, stall_weight: float = 4.3) -> float:
    """Pensieve's QoE_lin (SIGCOMM 2017, table 1), mean over segments: Mbit/s, less changes, less 4.3 a second."""
    return _classic(np.asarray(bitrate_bps, dtype=np.float64) / 1e6, stall_s, stall_weight)


def logarithmic(bitrate_bps: Numbers, lowest_bps: float, stall_s: float, stall_weight: float = 2.66) -> float:
    """Pensieve's QoE_log, mean over segments: log of the bitrate over the lowest of the ladder."""
    return _classic(np.log(np.asarray(bitrate_bps, dtype=np.float64) / lowest_bps), stall_s, stall_weight)


def high_definition(rendition: Sequence[int], stall_s: float, stall_weight: float = 8.0) -> float:
    """Pensieve's QoE_hd, mean over segments, for its ladder of six: 1, 2, 3, 12, 15, 20."""
    return _classic(np.array([1.0, 2.0, 3.0, 12.0, 15.0, 20.0])[list(rendition)], stall_s, stall_weight)


def ssim_db(ssim: Numbers, stall_s: float, change_weight: float = 1.0, stall_weight: float = 100.0) -> float:
    """Puffer's QoE (Yan et al., NSDI 2020, 4.1), mean over segments: SSIM in decibels, at most 60."""
    decibels = -10 * np.log10(np.maximum(1 - np.asarray(ssim, dtype=np.float64), 1e-6))
    return _classic(decibels, stall_s, stall_weight, change_weight)


def _classic(
    quality: npt.NDArray[np.float64], stall_s: float, stall_weight: float, change_weight: float = 1.0
) -> float:
    changes = float(np.abs(np.diff(quality)).sum())
    return (float(quality.sum()) - change_weight * changes - stall_weight * stall_s) / len(quality)

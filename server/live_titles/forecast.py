"""How large the segments will be that a running stream does not have yet."""

from __future__ import annotations

import numpy as np

from abr.core.arrays import Floats

HALF_LIFE_SEGMENTS = 4.0
"""A segment counts half as much as the one that came so many after it."""
REMEMBERED = 32
"""Older segments count for nothing."""


def forecast_sizes(sizes: Floats) -> Floats:
    """Bytes of any segment to come, (R,), from those of the segments so far, (S, R), oldest first, S at least 1.

    Each rung by itself: a mean over the last segments that forgets by half in HALF_LIFE_SEGMENTS. It is the same for
    all segments to come, since nothing tells one of them from the next. docs/BENCHMARKS.md says how far it errs.
    NaN, a rung that was not made, counts for nothing; a rung of which nothing is known has NaN.
    """
    recent = sizes[-REMEMBERED:]
    kept = np.exp2(-np.arange(len(recent) - 1, -1.0, -1.0) / HALF_LIFE_SEGMENTS)
    weights = np.where(np.isnan(recent), 0.0, kept[:, None])
    total: Floats = weights.sum(0)
    mean: Floats = np.divide(
        (weights * np.nan_to_num(recent)).sum(0), total, np.full(total.shape, np.nan), where=total > 0
    )
    return mean

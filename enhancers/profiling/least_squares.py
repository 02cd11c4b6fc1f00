"""Least squares of times: what each part costs, no part less than nothing, errors relative to what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from abr.core.arrays import Floats


def solve_relative(table: Floats, times_ms: Floats) -> Floats:
    """Least squares of relative errors over coefficients that are not negative.

    table: (cells, operations). The operations are few, so that each set of them that may be above 0 is tried.
    """
    weighted, ones = table / times_ms[:, None], np.ones(len(times_ms))
    best, least = np.zeros(table.shape[1]), float("inf")
    for columns in _subsets(np.flatnonzero(table.any(axis=0)).tolist()):
        part = weighted[:, columns]
        found, *_ = np.linalg.lstsq(part, ones, rcond=None)
        loss = float(((part @ found - ones) ** 2).sum())
        if (found >= 0).all() and loss < least - 1e-12:
            best, least = np.zeros(table.shape[1]), loss
            best[columns] = found
    return best


def _subsets(items: Sequence[int]) -> Iterable[list[int]]:
    for count in range(1, len(items) + 1):
        yield from (list(chosen) for chosen in combinations(items, count))

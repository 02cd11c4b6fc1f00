"""Real numbers as words modulo 2^32, so that sums of words are sums of numbers."""

from __future__ import annotations

from math import ceil, log2

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abr.errors import InputError
from abr.secure_aggregation.masks import Words

_SIGNED_BITS = 31


class FixedPoint:
    """Numbers of at most `limit` in size, of which at most `members` vectors are added.

    The sum then fits 31 bits and a sign. Each member rounds to the nearest step, so that a sum of n is off by
    √(n/12) steps (root mean square).
    """

    def __init__(self, limit: float, members: int) -> None:
        self._limit = limit
        self.step = 2.0 ** -(_SIGNED_BITS - ceil(log2(limit * members + 1)))

    def encode(self, vector: ArrayLike) -> Words:
        """Words of a vector of finite numbers. Raises InputError for NaN, infinity and what is beyond the limit."""
        values = np.asarray(vector, dtype=np.float64)
        if not np.all(np.abs(values) <= self._limit):  # false for NaN too
            raise InputError(f"A vector to be summed has a value that is no number, or is beyond ±{self._limit:g}.")
        return np.round(values / self.step).astype(np.int64).astype(np.uint32)

    def decode(self, total: Words) -> NDArray[np.float64]:
        """The sum of encoded vectors as real numbers."""
        return total.view(np.int32).astype(np.float64) * self.step

"""A player's update of a network as words to be summed, and the mean that a sum of them gives.

Federated averaging (McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
AISTATS 2017, algorithm 1): the mean of what players have learnt, each weighted by how much it had to learn from. Here
the weight is the last word of the vector and its product with the update all others, so that the server learns the sum
of the weights and no single one. Updates are clipped by their norm before (McMahan et al., ICLR 2018, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abr.errors import FormatError, InputError
from abr.secure_aggregation.fixed_point import FixedPoint
from abr.secure_aggregation.masks import Words

_ROUNDING = 1e-3
"""Of the norm, what rounding to words may add."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanUpdate:
    """What a cohort has learnt. values: the weighted mean of its updates. weight: the sum of its weights."""

    values: Values
    weight: float


class UpdateCodec:
    """Updates of `values` numbers with a norm of at most `norm_max`, of which at most `members` are added."""

    def __init__(self, values: int, norm_max: float, members: int) -> None:
        self.words, self._norm_max, self._members = values + 1, norm_max, members
        self._fixed = FixedPoint(norm_max, members)

    def encode(self, update: ArrayLike, weight: float) -> Words:
        """Words of an update, clipped to the norm, and its weight in 0–1.

        Raises InputError for numbers that are not finite, and for another weight.
        """
        if not 0 < weight <= 1:
            raise InputError(f"The weight of an update is {weight}; it must be above 0 and at most 1.")
        clipped = clip(update, self._norm_max)
        return self._fixed.encode(np.append(weight * clipped, weight * self._norm_max))

    def decode(self, total: Words, survivors: int) -> MeanUpdate:
        """The mean of so many updates.

        Raises FormatError for what no sum of clipped updates can be: one of them then was none. Whoever keeps within
        the norm cannot be told from others; that is what held-out clips are for.
        """
        sums = self._fixed.decode(total)
        weight = float(sums[-1]) / self._norm_max
        if not 0 < weight <= survivors * (1 + _ROUNDING):
            raise FormatError(f"Weights of {survivors} updates add up to {weight:.3g}: one of them is no weight.")
        mean = sums[:-1] / weight
        norm = float(np.linalg.norm(mean))
        if not norm <= self._norm_max * (1 + _ROUNDING):
            raise FormatError(f"The mean update has a norm of {norm:.3g}; none may be beyond {self._norm_max:.3g}.")
        return MeanUpdate(values=mean, weight=weight)


def clip(update: ArrayLike, norm_max: float) -> Values:
    """The update, shortened to the norm if it is longer. Raises InputError for numbers that are not finite."""
    values = np.asarray(update, dtype=np.float64)
    norm = float(np.linalg.norm(values))
    if not isfinite(norm):
        raise InputError(
            "The update has numbers that are not finite: training has gone astray, so it is not handed in."
        )
    return values * min(1.0, norm_max / norm) if norm else values

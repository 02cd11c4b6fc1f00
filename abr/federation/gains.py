"""How many rounds a gain takes, by what a simulated federation gained in its rounds."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, log

import numpy as np

SIMULATED = (0.122, 0.272, 0.398, 0.459, 0.545, 0.545)
"""Points of VMAF-NEG on the server's clips, round after round, of a federation of eight (BENCHMARKS): 16 patches a
step, 20 steps a round, three tenths of the players gone in each round."""
_SPANS = tuple(2 ** (0.125 * step) for step in range(72))


class GainCurve:
    """limit · (1 - exp(-rounds / span)), fitted by least squares: gains come ever more slowly.

    limit: points that are never passed. span: rounds after which two thirds of them are there.
    """

    def __init__(self, gained: Sequence[float]) -> None:
        """gained: points after 1, 2, … rounds, at least two. Raises ValueError for fewer."""
        if len(gained) < 2:
            raise ValueError("a curve wants the gains of two rounds at least")
        rounds, points = np.arange(1, len(gained) + 1), np.asarray(gained, dtype=np.float64)
        best = float("inf")
        self.limit = self.span = 0.0
        for span in _SPANS:
            shape = 1 - np.exp(-rounds / span)
            limit = max(0.0, float(shape @ points / (shape @ shape)))
            error = float(np.sum((limit * shape - points) ** 2))
            if error < best:
                best, self.limit, self.span = error, limit, span
        self.error = (best / len(points)) ** 0.5
        """Root mean square of what the curve is off by, in points."""

    def after(self, rounds: int) -> float:
        """Points after so many rounds."""
        return self.limit * (1 - exp(-rounds / self.span))

    def rounds_to(self, points: float) -> int | None:
        """Rounds until so many points are gained; None where they never are."""
        if points >= self.limit:
            return None
        return max(1, ceil(-self.span * log(1 - points / self.limit)))

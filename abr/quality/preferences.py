"""What people prefer: forced choices between two pictures, as shares and as Bradley–Terry scores with intervals.

Bradley and Terry, "Rank analysis of incomplete block designs", Biometrika 39 (1952): i is preferred to j with
probability 1 / (1 + exp(score_j − score_i)). ITU-T P.910 (2023), 7.6, describes the pair comparison itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from abr.core.arrays import Floats

Z_95 = 1.959964
"""Half the width of a 95 % interval, in standard deviations."""
PRIOR_DEVIATION = 3.0
"""Scores are taken to lie about this far from each other before anybody voted: a condition that won every time has a
finite score, and one that nobody saw has a wide interval."""
_STEPS_MAX = 100
_CONVERGED = 1e-10


class Preference(NamedTuple):
    """One forced choice: the names of two conditions."""

    better: str
    worse: str


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def preferred_share(wins: int, votes: int) -> Estimate:
    """The share of votes won, with Wilson's interval (1927).

    Raises ValueError unless there are votes and 0 ≤ wins ≤ votes.
    """
    if not 0 <= wins <= votes or not votes:
        raise ValueError(f"{wins} of {votes} votes cannot be.")
    share, spread = wins / votes, Z_95**2 / votes
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return Estimate(share, middle - half, middle + half)


def bradley_terry(preferences: Sequence[Preference]) -> dict[str, Estimate]:
    """Scores by condition, in logits, their mean 0; votes count as independent of each other.

    A difference of 1 stands for being preferred in 73 % of choices. The mode under a normal prior of deviation
    PRIOR_DEVIATION, by Newton's method; intervals by the curvature there.
    """
    names = sorted({name for preference in preferences for name in preference})
    index = {name: at for at, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for (better, worse), count in Counter(preferences).items():
        wins[index[better], index[worse]] += count
    scores = np.zeros(len(names))
    for _ in range(_STEPS_MAX):
        slope, curvature = _derivatives(scores, wins)
        step = np.linalg.solve(curvature, slope)
        scores += step
        if np.abs(step).max(initial=0.0) < _CONVERGED:
            break
    scores -= scores.mean() if names else 0.0
    _, curvature = _derivatives(scores, wins)
    centre = np.eye(len(names)) - 1 / max(1, len(names))
    deviations = np.sqrt(np.diag(centre @ np.linalg.inv(curvature) @ centre)) if names else scores
    return {
        name: Estimate(float(score), float(score - Z_95 * deviation), float(score + Z_95 * deviation))
        for name, score, deviation in zip(names, scores, deviations, strict=True)
    }


def _derivatives(scores: Floats, wins: Floats) -> tuple[Floats, Floats]:
    """Of the log posterior: its slope, and its curvature with the sign turned."""
    chance = 1 / (1 + np.exp(scores[None, :] - scores[:, None]))
    votes = wins + wins.T
    slope = (wins - votes * chance).sum(axis=1) - scores / PRIOR_DEVIATION**2
    weight = votes * chance * (1 - chance)
    curvature = np.diag(weight.sum(axis=1) + 1 / PRIOR_DEVIATION**2) - weight
    return slope, curvature

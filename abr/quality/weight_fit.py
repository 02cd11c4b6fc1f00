"""Which weight of the fidelity median against the detail median explains what people chose.

Trusted quality (`abr.quality.trusted`) takes half of each. Here the weight is free. A pair's difference in quality, in
points of VMAF, times a sharpness is the logit of the vote (Bradley–Terry with a covariate). Both are fitted by maximum
likelihood on a grid; the interval is that of the profile likelihood (Wilks 1938). Votes count as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from abr.core.arrays import Floats
from abr.quality.preferences import Estimate

_WEIGHTS: Final = np.linspace(0.0, 1.0, 101)
_SHARPNESS: Final = np.geomspace(0.005, 2.0, 80)
"""Logits for a point of VMAF. Six points are told rightly by three of four people, which is 0.18."""
_WITHIN = 1.920729
"""Of the greatest log likelihood: half the 95 % quantile of χ² with one degree of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftVote:
    """One choice between a lifted picture and a plain one.

    fidelity, detail: the medians, shares of the step to the next rung. step, lift: VMAF of the next rung and of the
    lifted picture above plain. behind: by how many points of VMAF the other picture is above plain; 0 for plain itself.
    """

    fidelity: float
    detail: float
    step: float
    lift: float
    behind: float
    preferred: bool


def fit_weight(votes: Sequence[LiftVote]) -> Estimate | None:
    """Weight of the fidelity median, 0–1, with its 95 % interval; None where no vote depends on it."""
    telling = [vote for vote in votes if vote.fidelity != vote.detail and vote.step > 0]
    if not telling:
        return None
    gains = _gains(telling)
    signs = np.array([1.0 if vote.preferred else -1.0 for vote in telling])
    logits = _SHARPNESS[:, None, None] * gains[None] * signs
    likelihood = -np.logaddexp(0.0, -logits).sum(axis=2)
    profile = likelihood.max(axis=0)
    within = _WEIGHTS[profile >= profile.max() - _WITHIN]
    # A vote may say nothing between some weights: then the middle of the best ones.
    best = _WEIGHTS[profile >= profile.max() - 1e-9]
    return Estimate(float(best.mean()), float(within.min()), float(within.max()))


def _gains(votes: Sequence[LiftVote]) -> Floats:
    """The lifted picture's lead in points, for each weight and vote: (weights, votes)."""
    columns = np.array([(each.fidelity, each.detail, each.step, each.lift, each.behind) for each in votes])
    fidelity, detail, step, lift, behind = columns.T
    weight = _WEIGHTS[:, None]
    gains: Floats = np.minimum((weight * fidelity + (1 - weight) * detail) * step, lift) - behind
    return gains

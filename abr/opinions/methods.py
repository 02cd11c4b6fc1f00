"""Ways to learn from raters who disagree, by name: each fits heads to votes, and decides for a score.

The decision is either the highest score that more likely than not is reached, or `tuned`: cut where the labels agree
best with the raters. Shares of votes are pulled to the middle of the scale, and whoever decides by them hits the
extremes too seldom to agree with people, who use them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from abr.core.arrays import Floats
from abr.opinions.agreement_learning import TwoStreams, fit_agreement, labels
from abr.opinions.dataset import OpinionSet
from abr.opinions.ordinal import Ordinal, expected_score, fit_ordinal
from abr.opinions.raters import (
    HEADS,
    Votes,
    item_scores,
    labels_of,
    majority,
    rater_weights,
    soft_labels,
)

SPREADS: Final = tuple(np.linspace(0.7, 1.7, 21).tolist())
SHIFTS: Final = tuple(sorted(np.linspace(-0.4, 0.4, 17).tolist(), key=abs))
_GAIN = 1e-9


class Heads(Protocol):
    """Ordinal heads that were fitted: `Ordinal` or `TwoStreams`."""

    def chances(self, columns: Floats, /) -> Floats:
        """(N, 4) P(score ≥ τ) of items with these columns, (N, K)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rater:
    """A model that rates. cuts: (4,) rising, on the expected score; None for the decision at even chances."""

    heads: Heads
    cuts: Floats | None = None

    def scores(self, columns: Floats) -> Floats:
        """(N,) expected scores, 1 to 5."""
        return expected_score(self.heads.chances(columns))

    def labels(self, columns: Floats) -> Floats:
        """(N,) the score that it decides for."""
        if self.cuts is None:
            return labels(self.heads.chances(columns))
        return np.asarray(1.0 + (self.scores(columns)[:, None] > self.cuts).sum(axis=1))


Fit = Callable[[Floats, OpinionSet, Floats], Rater]
"""Of columns (N, K), opinions on the N items, and the directions (K,) of the columns."""


def tune_cuts(expected: Floats, scores: Floats) -> Floats:
    """(4,) where to cut the expected scores, (N,), so that the labels agree best with votes, (N, J), by quadratic κ.

    The cuts are those of scores that are spread about their mean, shifted, and rounded: two numbers to be learnt. Four
    cuts by themselves agree no better with people whose votes they have not seen.
    """
    votes, middle = Votes(scores), float(expected.mean())
    best, found = -math.inf, HEADS - 0.5
    for spread in SPREADS:
        for shift in SHIFTS:
            cuts = middle + (HEADS - 0.5 - middle - shift) / spread
            kappa = votes.kappa(1.0 + (expected[:, None] > cuts).sum(axis=1))
            if kappa > best + _GAIN:
                best, found = kappa, cuts
    return found


def _fit_every(columns: Floats, opinions: OpinionSet, directions: Floats) -> Ordinal:
    return fit_ordinal(columns, soft_labels(opinions.scores), directions)


def _fit_majority(columns: Floats, opinions: OpinionSet, directions: Floats) -> Ordinal:
    return fit_ordinal(columns, labels_of(majority(opinions.scores)), directions)


def _fit_weighted(columns: Floats, opinions: OpinionSet, directions: Floats) -> Ordinal:
    return fit_ordinal(columns, soft_labels(opinions.scores, rater_weights(opinions.scores)), directions)


def _fit_mle(columns: Floats, opinions: OpinionSet, directions: Floats) -> Ordinal:
    return fit_ordinal(columns, labels_of(item_scores(opinions.scores)), directions)


def _plain(fit: Callable[[Floats, OpinionSet, Floats], Heads]) -> Fit:
    return lambda columns, opinions, directions: Rater(heads=fit(columns, opinions, directions))


def _tuned(fit: Callable[[Floats, OpinionSet, Floats], Heads]) -> Fit:
    def fit_tuned(columns: Floats, opinions: OpinionSet, directions: Floats) -> Rater:
        heads = fit(columns, opinions, directions)
        return Rater(heads=heads, cuts=tune_cuts(expected_score(heads.chances(columns)), opinions.scores))

    return fit_tuned


METHODS: Final[dict[str, Fit]] = {
    "agreement": _tuned(fit_agreement),
    "agreement-untuned": _plain(fit_agreement),
    "every-rater": _plain(_fit_every),
    "every-rater-tuned": _tuned(_fit_every),
    "majority": _plain(_fit_majority),
    "majority-tuned": _tuned(_fit_majority),
    "weighted": _plain(_fit_weighted),
    "weighted-tuned": _tuned(_fit_weighted),
    "mle": _plain(_fit_mle),
}
"""agreement: agreement learning (abr.opinions.agreement_learning). every-rater: all votes alike. majority: what most
chose. weighted: shares of votes, raters counted by their κ with the others. mle: scores by maximum likelihood.
"""
DEFAULT: Final = "agreement"


def agreement_of(model: Rater) -> TwoStreams | None:
    """The two streams of a model that has them."""
    return model.heads if isinstance(model.heads, TwoStreams) else None

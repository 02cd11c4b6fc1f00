"""Agreement learning: one stream fits every rater, another learns where raters agree and regularises the first.

After Wang et al., "Learn2Agree: Fitting with Multiple Annotators without Objective Ground Truth" (arXiv 2109.03596).
Its abstract says that there are the two streams, and that what the second learns tunes the first one's decision. How
that is done here is our reading of it, and not held against the paper's equations. The classifier stream gives p, the
chance that a score reaches τ. The agreement stream gives ŷ, how far raters, each counted by his or her κ with the
others, agree that it does. The classifier is trained and used as regularised by it:

    p̃ = p·exp(λ(ŷ − ½)) / (p·exp(λ(ŷ − ½)) + (1 − p)·exp(λ(½ − ŷ))),  so  logit p̃ = logit p + 2λ(ŷ − ½).

The paper's streams are networks over sensor data and pictures. Here each is a set of ordinal heads over a few features,
one class boundary a head. ŷ and p rise with the same features, so p̃ does, for every λ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from abr.core.arrays import Floats, Indices
from abr.opinions.dataset import OpinionSet
from abr.opinions.ordinal import Ordinal, fit_ordinal, logistic
from abr.opinions.raters import rater_weights, soft_labels

STRENGTHS: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""λ that are tried; 0 is the classifier stream by itself."""
FOLDS: Final = 4
_SURE = 1e-6
"""No head is surer than this when it is judged."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoStreams:
    """strength: λ."""

    classifier: Ordinal
    agreement: Ordinal
    strength: float

    def chances(self, columns: Floats) -> Floats:
        """(N, 4) p̃ of items with these columns, (N, K)."""
        return logistic(self.classifier.logits(columns) + self._regularised(columns))

    def agreed(self, columns: Floats) -> Floats:
        """(N, 4) ŷ."""
        return self.agreement.chances(columns)

    def _regularised(self, columns: Floats) -> Floats:
        return 2 * self.strength * (self.agreed(columns) - 0.5)


def fit_two_streams(
    columns: Floats, scores: Floats, directions: Floats, strengths: Sequence[float]
) -> list[TwoStreams]:
    """One for each λ. columns: (N, K). scores: (N, J), NaN for no vote. directions: (K,)."""
    agreement = fit_ordinal(columns, soft_labels(scores, rater_weights(scores)), directions)
    every = soft_labels(scores)
    alone = fit_ordinal(columns, every, directions)
    streams = []
    for strength in strengths:
        offset = 2 * strength * (agreement.chances(columns) - 0.5)
        classifier = fit_ordinal(columns, every, directions, offset=offset, start=alone) if strength else alone
        streams.append(TwoStreams(classifier=classifier, agreement=agreement, strength=strength))
    return streams


def fit_agreement(columns: Floats, opinions: OpinionSet, directions: Floats) -> TwoStreams:
    """With the λ under which votes on contents left out are likeliest; the least of equals."""
    found: list[list[float]] = []
    for held in _folds(opinions.contents):
        rest = np.setdiff1d(np.arange(len(opinions.contents)), held)
        tried = fit_two_streams(columns[rest], opinions.scores[rest], directions, STRENGTHS)
        found.append([_likelihood(each.chances(columns[held]), opinions.scores[held]) for each in tried])
    best = int(np.argmax(np.mean(found, axis=0))) if found else 0
    return fit_two_streams(columns, opinions.scores, directions, STRENGTHS[best : best + 1])[0]


def labels(chances: Floats) -> Floats:
    """(N,) the score that a model decides for: the highest that more likely than not is reached, (N, 4)."""
    return np.asarray(1.0 + (chances > 0.5).sum(axis=1))


def _likelihood(chances: Floats, scores: Floats) -> float:
    """Mean log likelihood of votes, (N, J), by heads, (N, 4), an item."""
    shares, sure = soft_labels(scores), np.clip(chances, _SURE, 1 - _SURE)
    return float((shares * np.log(sure) + (1 - shares) * np.log(1 - sure)).mean())


def _folds(contents: Indices) -> list[Indices]:
    """Items of each fold: whole contents, dealt out in turn. None when there is only one content."""
    kinds = np.unique(contents)
    count = min(FOLDS, len(kinds))
    return [np.flatnonzero(np.isin(contents, kinds[fold::count])) for fold in range(count)] if count > 1 else []

"""Raters and their votes: how far they agree, and what of many votes is taken for one label.

Agreement is Cohen's κ with quadratic weights (Cohen, "Weighted kappa", Psychological Bulletin 70, 1968): 1 for the same
votes, 0 for what chance brings about.
"""

from __future__ import annotations

import math

import numpy as np

from abr.core.arrays import Floats, Indices
from abr.opinions.dataset import SCORE_MAX, SCORE_MIN

HEADS: Floats = np.arange(SCORE_MIN + 1.0, SCORE_MAX + 1.0)
"""The scores τ of which a model tells P(score ≥ τ)."""
SHARED_MIN = 5
"""Items that two raters must share for their κ to say anything."""
WEIGHT_MIN = 0.01
_MLE_STEPS, _MLE_PRIOR_VOTES = 50, 4.0


def quadratic_kappa(a: Floats, b: Floats) -> float:
    """Cohen's κ with quadratic weights of two lists of scores, (N,) each; NaN where neither has two scores."""
    expected = float(np.mean(a * a) - 2 * a.mean() * b.mean() + np.mean(b * b))
    return 1 - float(np.mean((a - b) ** 2)) / expected if expected > 0 else math.nan


def mean_kappa(labels: Floats, scores: Floats) -> float:
    """Mean over raters of κ between a model's labels, (N,), and theirs, (N, J); raters of SHARED_MIN items or more."""
    each = [
        quadratic_kappa(labels[seen], scores[seen, rater])
        for rater, seen in enumerate((~np.isnan(scores)).T)
        if seen.sum() >= SHARED_MIN
    ]
    return float(np.nanmean(each)) if each and not np.isnan(each).all() else math.nan


def rater_weights(scores: Floats) -> Floats:
    """(J,) each rater's mean κ with the others, by the items shared, at least WEIGHT_MIN; the mean where none are.

    scores: (N, J), NaN for no vote.
    """
    seen, values = ~np.isnan(scores), np.nan_to_num(scores)
    counts = seen.T.astype(np.float64) @ seen
    own, squares = values.T @ seen, (values**2).T @ seen
    distance = squares + squares.T - 2 * (values.T @ values)
    chance = squares + squares.T - 2 * own * own.T / np.maximum(counts, 1)
    told = (counts >= SHARED_MIN) & (chance > 0)
    np.fill_diagonal(told, False)
    kappa = np.where(told, 1 - distance / np.where(chance > 0, chance, 1), 0.0)
    shared = np.where(told, counts, 0.0)
    total = shared.sum(axis=1)
    mean = (kappa * shared).sum(axis=1) / np.maximum(total, 1)
    usual = float(mean[total > 0].mean()) if (total > 0).any() else 1.0
    weights: Floats = np.maximum(np.where(total > 0, mean, usual), WEIGHT_MIN)
    return weights


def soft_labels(scores: Floats, weights: Floats | None = None) -> Floats:
    """(N, 4) the share of an item's votes at or above each of HEADS; raters count by their weights, (J,), or alike."""
    seen = ~np.isnan(scores)
    counted = seen * (np.ones(scores.shape[1]) if weights is None else weights)
    above = np.nan_to_num(scores)[:, :, None] >= HEADS
    labels: Floats = (counted[:, :, None] * above).sum(axis=1) / counted.sum(axis=1)[:, None]
    return labels


def majority(scores: Floats) -> Floats:
    """(N,) the score that most raters gave; of several the middle one, the higher of two."""
    counts = np.stack([(scores == score).sum(axis=1) for score in range(SCORE_MIN, SCORE_MAX + 1)], axis=1)
    winners = [np.flatnonzero(row == row.max()) for row in counts]
    return np.array([SCORE_MIN + tied[len(tied) // 2] for tied in winners], dtype=np.float64)


def labels_of(scores: Floats) -> Floats:
    """(N, 4) for each of HEADS whether a score, (N,), reaches it; of one between two the share of the way."""
    return np.asarray(np.clip(scores[:, None] - HEADS + 1, 0.0, 1.0))


def item_scores(scores: Floats) -> Floats:
    """(N,) scores of items with each rater's bias taken off, raters counted by their consistency: maximum likelihood.

    ITU-T P.913 (2021), 12.6, solved by turns as `sureal` does. With few votes a rater's variance is drawn to that of
    all, as if by _MLE_PRIOR_VOTES votes more.
    """
    seen, values = ~np.isnan(scores), np.nan_to_num(scores)
    votes = seen.sum(axis=0)
    items: Floats = values.sum(axis=1) / seen.sum(axis=1)
    for _ in range(_MLE_STEPS):
        rest = np.where(seen, values - items[:, None], 0.0)
        bias = rest.sum(axis=0) / np.maximum(votes, 1)
        bias -= (bias * votes).sum() / votes.sum()
        squares = (np.where(seen, rest - bias, 0.0) ** 2).sum(axis=0)
        usual = squares.sum() / votes.sum()
        variance = (squares + _MLE_PRIOR_VOTES * usual) / (votes + _MLE_PRIOR_VOTES)
        weight = seen / np.maximum(variance, 1e-6)
        items = (weight * (values - bias)).sum(axis=1) / weight.sum(axis=1)
    return items


def draw_raters(scores: Floats, count: int, random: np.random.Generator) -> Floats:
    """(N, J) the same with the votes of `count` raters left of each item, drawn anew for each."""
    left = np.full(scores.shape, np.nan)
    for item, row in enumerate(scores):
        voters: Indices = np.flatnonzero(~np.isnan(row))
        kept = random.permutation(voters)[:count]
        left[item, kept] = row[kept]
    return left


class Votes:
    """Votes on N items, summed up so that κ with many lists of labels is quick."""

    def __init__(self, scores: Floats) -> None:
        """scores: (N, J), NaN for no vote."""
        values = np.nan_to_num(scores)
        self._counts = (~np.isnan(scores)).sum(axis=1).astype(np.float64)
        self._sums, self._squares = values.sum(axis=1), float((values**2).sum())

    def kappa(self, labels: Floats) -> float:
        """Between a model's labels, (N,), and all votes, as if one rater had given them."""
        own = float(self._counts @ labels**2)
        chance = own - 2 * float(self._counts @ labels) * float(self._sums.sum()) / float(self._counts.sum())
        distance = own - 2 * float(self._sums @ labels) + self._squares
        return 1 - distance / (chance + self._squares) if chance + self._squares > 0 else math.nan

"""Ordinal heads: P(score ≥ τ) = 1 / (1 + exp(threshold_τ − worth)), one worth for all heads.

McCullagh, "Regression models for ordinal data", J. Royal Statistical Society B 42 (1980): proportional odds. Thresholds
rise with τ, so the heads never contradict each other. Weights keep the sign of their feature's direction, so that more
stalls are never better and more quality is never worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.core.arrays import Floats
from abr.opinions.raters import HEADS

RIDGE = 0.02
"""Of weights, against items' mean log likelihood times their number."""
STEPS, RATE = 300, 0.05
_START = 0.5
_RARE = 0.02
"""No head starts from a share of votes rarer than this."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ordinal:
    """weights: (K,) of a design's columns. thresholds: (4,), rising, of HEADS."""

    weights: Floats
    thresholds: Floats

    def worth(self, columns: Floats) -> Floats:
        """(N,) of items with these columns, (N, K)."""
        return np.asarray(columns @ self.weights)

    def logits(self, columns: Floats) -> Floats:
        """(N, 4) of P(score ≥ τ)."""
        return np.asarray(self.worth(columns)[:, None] - self.thresholds)

    def chances(self, columns: Floats) -> Floats:
        """(N, 4) P(score ≥ τ), falling with τ."""
        return logistic(self.logits(columns))


def logistic(values: Floats) -> Floats:
    """1 / (1 + exp(-values)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))


def fit_ordinal(
    columns: Floats, labels: Floats, directions: Floats, *, offset: Floats | float = 0.0, start: Ordinal | None = None
) -> Ordinal:
    """By maximum likelihood with a ridge: Adam on all items at once, signs of weights kept after each step.

    columns: (N, K). labels: (N, 4) shares of votes at or above each of HEADS. directions: (K,) of columns. offset:
    (N, 4) logits that come from elsewhere. start: where to begin.
    """
    count = columns.shape[1]
    if start is None:
        weights = _START * directions
        shares = np.clip(labels.mean(axis=0), _RARE, 1 - _RARE)
        thresholds = float((columns @ weights).mean()) - np.log(shares / (1 - shares))
    else:
        weights, thresholds = start.weights, start.thresholds
    values = np.concatenate([weights, np.sort(thresholds)])
    momentum, spread = np.zeros_like(values), np.zeros_like(values)
    for step in range(1, STEPS + 1):
        excess = logistic((columns @ values[:count])[:, None] - values[count:] + offset) - labels
        slope = np.concatenate([columns.T @ excess.sum(axis=1) + RIDGE * values[:count], -excess.sum(axis=0)])
        slope /= len(labels)
        momentum = 0.9 * momentum + 0.1 * slope
        spread = 0.99 * spread + 0.01 * slope * slope
        values = values - RATE * (momentum / (1 - 0.9**step)) / (np.sqrt(spread / (1 - 0.99**step)) + 1e-9)
        values[:count] = np.where(values[:count] * directions < 0, 0.0, values[:count])
        values[count:] = np.sort(values[count:])
    return Ordinal(weights=values[:count], thresholds=values[count:])


def expected_score(chances: Floats) -> Floats:
    """(N,) the mean score, 1 to 5, that these heads, (N, 4), expect."""
    return np.asarray(HEADS[0] - 1 + chances.sum(axis=1))

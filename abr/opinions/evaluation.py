"""How well models agree with people on contents that they never saw, split by split, and whether that is chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from abr.core.arrays import Floats, Indices, Truths
from abr.opinions.dataset import OpinionSet
from abr.opinions.features import design_of, values_of
from abr.opinions.methods import METHODS, Rater, agreement_of
from abr.opinions.raters import HEADS, draw_raters, mean_kappa

HELD_SHARE = 1 / 3
"""Of the contents, those that a split holds out."""
BINS = 10
FLIPS = 20_000
_FLIPS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """held: (N,) which items are of contents held out. scores: (N, J) the votes that are left for learning."""

    held: Truths
    scores: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFigures:
    """One method on one split's held-out contents.

    kappa: mean over raters, quadratic. srocc: rank correlation of expected scores with reference scores, over all items
    and as the mean within contents. ece: expected calibration error of the stream that tells agreement (of the heads,
    where there is none), against the shares of raters. strength: λ of agreement learning, 0 of other methods.
    """

    kappa: float
    srocc: float
    srocc_within: float
    ece: float
    strength: float


def splits_of(opinions: OpinionSet, count: int, raters: int, seed: int) -> Iterator[Split]:
    """Splits by content, a third held out; of each other item the votes of `raters` raters, drawn at random."""
    random, kinds = np.random.default_rng(seed), np.unique(opinions.contents)
    for _ in range(count):
        out = random.permutation(kinds)[: max(2, round(len(kinds) * HELD_SHARE))]
        yield Split(held=np.isin(opinions.contents, out), scores=draw_raters(opinions.scores, raters, random))


def judge_split(
    opinions: OpinionSet, split: Split, reference: Floats, methods: Sequence[str], *, expert: bool = False
) -> dict[str, SplitFigures]:
    """Each method, fitted on one part and judged on the other. reference: (N,) scores of the items by all raters."""
    values = values_of(opinions, expert=expert)
    learnt, held = np.flatnonzero(~split.held), np.flatnonzero(split.held)
    design = design_of({name: column[learnt] for name, column in values.items()})
    columns = design.columns(values)
    seen = opinions.with_scores(split.scores).only(learnt)
    figures = {}
    for name in methods:
        model = METHODS[name](columns[learnt], seen, design.directions)
        figures[name] = _figures(model, columns[held], opinions.only(held), reference[held])
    return figures


def _figures(model: Rater, columns: Floats, held: OpinionSet, reference: Floats) -> SplitFigures:
    expected, streams = model.scores(columns), agreement_of(model)
    within = [
        rank_correlation(expected[held.contents == content], reference[held.contents == content])
        for content in np.unique(held.contents)
    ]
    return SplitFigures(
        kappa=mean_kappa(model.labels(columns), held.scores),
        srocc=rank_correlation(expected, reference),
        srocc_within=float(np.nanmean(within)),
        ece=calibration_error(streams.agreed(columns) if streams else model.heads.chances(columns), held.scores),
        strength=streams.strength if streams else 0.0,
    )


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's, of two lists (N,); ties have their mean rank. NaN where one is all ties."""
    ranks = np.stack([_ranks(each) for each in (a, b)])
    return float(np.corrcoef(ranks).flat[1]) if (np.ptp(ranks, axis=1) > 0).all() else math.nan


def _ranks(values: Floats) -> Floats:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[which.ravel()])


def calibration_error(chances: Floats, scores: Floats) -> float:
    """Expected calibration error of P(score ≥ τ), (N, 4), against votes, (N, J): over BINS bins of equal width.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015. Heads count together.
    """
    seen = ~np.isnan(scores)
    reached = (np.nan_to_num(scores)[:, :, None] >= HEADS) & seen[:, :, None]
    votes = np.repeat(seen.sum(axis=1)[:, None], len(HEADS), axis=1).astype(np.float64)
    bins: Indices = np.minimum((chances * BINS).astype(np.intp), BINS - 1)
    told, true = np.zeros(BINS), np.zeros(BINS)
    np.add.at(told, bins, votes * chances)
    np.add.at(true, bins, reached.sum(axis=1).astype(np.float64))
    return float(np.abs(told - true).sum() / votes.sum())


def paired_p(differences: Floats, seed: int = 1) -> float:
    """Two-sided p of paired differences, (S,), under signs flipped at random: Fisher's randomisation test."""
    random, own = np.random.default_rng(seed), abs(float(differences.mean()))
    as_far = 0
    for _ in range(FLIPS // _FLIPS_AT_ONCE):
        signs = random.choice((-1.0, 1.0), (_FLIPS_AT_ONCE, len(differences)))
        as_far += int((np.abs((signs * differences).mean(axis=1)) >= own - 1e-12).sum())
    return (as_far + 1) / (FLIPS + 1)


def kappa_differences(splits: Sequence[Mapping[str, SplitFigures]], method: str, other: str) -> Floats:
    """(S,) by how much one method's κ is above another's, split by split."""
    return np.array([each[method].kappa - each[other].kappa for each in splits])

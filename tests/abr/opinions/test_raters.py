"""Raters' agreement and what is made of their votes, against definitions written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.opinions.evaluation import calibration_error, paired_p, rank_correlation
from abr.opinions.methods import tune_cuts
from abr.opinions.raters import (
    Votes,
    draw_raters,
    item_scores,
    majority,
    mean_kappa,
    quadratic_kappa,
    rater_weights,
    soft_labels,
)

SCORES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=30)


def kappa_by_tables(a: np.ndarray, b: np.ndarray) -> float:
    """Cohen's definition: weighted disagreement seen, over that of chance."""
    seen = np.zeros((5, 5))
    for x, y in zip(a.astype(int), b.astype(int), strict=True):
        seen[x - 1, y - 1] += 1 / len(a)
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0))
    weight = np.array([[(i - j) ** 2 for j in range(5)] for i in range(5)])
    return 1 - float((weight * seen).sum() / (weight * chance).sum())


@given(SCORES)
def test_kappa_is_cohens(pairs: list[tuple[int, int]]):
    a, b = np.array(pairs, dtype=float).T
    if np.ptp(a) == 0 and np.ptp(b) == 0 and a[0] == b[0]:
        assert np.isnan(quadratic_kappa(a, b))
        return
    assert quadratic_kappa(a, b) == pytest.approx(kappa_by_tables(a, b), abs=1e-9)
    assert Votes(b[:, None]).kappa(a) == pytest.approx(quadratic_kappa(a, b), abs=1e-9)


def test_a_rater_who_answers_at_random_weighs_little_beside_those_who_agree():
    random = np.random.default_rng(1)
    true = random.integers(1, 6, 60)
    agreeing = np.clip(true[:, None] + random.integers(-1, 2, (60, 4)), 1, 5)
    scores = np.column_stack([agreeing, random.integers(1, 6, 60)]).astype(float)
    weights = rater_weights(scores)
    assert weights[4] < 0.3 * weights[:4].min()
    pairs = [quadratic_kappa(scores[:, 0], scores[:, other]) for other in range(1, 5)]
    assert weights[0] == pytest.approx(np.mean(pairs))


def test_raters_who_share_no_items_weigh_alike():
    scores = np.full((8, 4), np.nan)
    for item in range(8):
        scores[item, item % 4] = 1 + item % 5
    assert rater_weights(scores).tolist() == [1.0] * 4


def test_majority_and_shares_of_votes():
    scores = np.array([[1, 1, 5, np.nan], [2, 3, np.nan, np.nan], [4, 4, 4, 1]])
    assert majority(scores).tolist() == [1, 3, 4]
    np.testing.assert_allclose(soft_labels(scores)[0], [1 / 3] * 4)
    np.testing.assert_allclose(soft_labels(scores, np.array([1, 1, 2, 9]))[0], [1 / 2] * 4)


def test_scores_of_items_are_free_of_the_bias_of_who_happened_to_rate_them():
    random = np.random.default_rng(2)
    true, bias = np.repeat([2.0, 4.0], 20), np.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    scores = true[:, None] + bias + 0.1 * random.normal(size=(40, 6))
    scores[:20, 0] = np.nan
    scores[20:, 1] = np.nan
    plain, found = np.nanmean(scores, axis=1), item_scores(scores)
    assert np.abs(found - true).mean() < 0.4 * np.abs(plain - true).mean()


def test_so_many_raters_are_left_of_each_item():
    scores = np.array([[1, 2, 3, 4, 5, np.nan], [np.nan, np.nan, 2, np.nan, np.nan, 3]], dtype=float)
    left = draw_raters(scores, 3, np.random.default_rng(1))
    assert (~np.isnan(left)).sum(axis=1).tolist() == [3, 2]
    kept = ~np.isnan(left)
    np.testing.assert_array_equal(left[kept], scores[kept])


def test_tuned_cuts_agree_better_with_raters_who_use_the_ends_of_the_scale():
    random = np.random.default_rng(3)
    true = random.uniform(1, 5, 300)
    scores = np.clip(np.rint(3 + 1.6 * (true[:, None] - 3) + 0.4 * random.normal(size=(300, 6))), 1, 5)
    rounded, tuned = np.rint(true), 1.0 + (true[:, None] > tune_cuts(true, scores)).sum(axis=1)
    assert mean_kappa(tuned, scores) > mean_kappa(rounded, scores) + 0.03


def test_calibration_error_is_what_predictions_are_off_by():
    scores = np.array([[1.0, 5.0]] * 10)
    assert calibration_error(np.full((10, 4), 0.5), scores) == pytest.approx(0)
    assert calibration_error(np.full((10, 4), 0.8), scores) == pytest.approx(0.3)


def test_rank_correlation_is_spearmans_with_ties():
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])) == pytest.approx(1)
    # by hand: ranks 1.5 1.5 3 4 and 2 1 3 4
    assert rank_correlation(np.array([1.0, 1, 2, 3]), np.array([2.0, 1, 3, 4])) == pytest.approx(4.5 / np.sqrt(22.5))
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3.0)))


def test_paired_p_is_that_of_all_signs():
    differences = np.array([0.3, 0.1, -0.05, 0.2, 0.15, 0.1, 0.02, 0.3])
    signs = np.array(list(product((-1, 1), repeat=8)))
    true = float((np.abs((signs * differences).mean(axis=1)) >= differences.mean() - 1e-12).mean())
    assert paired_p(differences) == pytest.approx(true, abs=0.01)
    assert paired_p(np.zeros(5)) == 1

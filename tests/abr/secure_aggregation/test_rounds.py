"""A round gives the sum of those who stayed, whoever vanishes whenever, or no sum at all."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_rounds import STAGES, run_round

from abr.secure_aggregation.degree import MEMBERS_MIN, choose_degree
from abr.secure_aggregation.fixed_point import FixedPoint
from abr.secure_aggregation.stages import Stage


def vectors(count: int, words: int = 8, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 1 << 32, words, dtype=np.uint32) for _ in range(count)]


def sum_of(vectors: list[np.ndarray], without: set[int]) -> np.ndarray:
    kept = [vector for place, vector in enumerate(vectors) if place not in without]
    return np.sum(kept, axis=0, dtype=np.uint32)


@pytest.mark.parametrize("stage", STAGES)
def test_thirty_in_a_hundred_vanish_at_one_stage_and_the_others_sum_is_exact(stage: str):
    members = vectors(20)
    gone = set(range(0, 18, 3))
    result = run_round(members, {stage: gone})
    in_the_sum = set() if stage == "openings" else gone
    assert result.round.stage is Stage.SUMMED
    assert result.round.survivors == 20 - len(in_the_sum)
    assert np.array_equal(result.total, sum_of(members, in_the_sum))


@given(count=st.integers(1, 14), data=st.data(), seed=st.integers(0, 1 << 16))
@settings(max_examples=25, deadline=None)
def test_whoever_vanishes_whenever_there_is_the_sum_of_those_who_stayed_or_none(count: int, data: st.DataObject, seed):
    gone = {stage: data.draw(st.sets(st.integers(0, count - 1), max_size=ceil(count / 4))) for stage in STAGES}
    members = vectors(count, words=3, seed=seed)
    result = run_round(members, gone, seed=seed)
    if result.total is None:
        assert result.round.reason
    else:
        without = gone["keys"] | gone["shares"] | gone["masked"]
        assert result.round.survivors >= MEMBERS_MIN
        assert np.array_equal(result.total, sum_of(members, without))


@pytest.mark.parametrize("stage", STAGES[:3])
def test_fewer_than_five_survivors_are_never_summed(stage: str):
    result = run_round(vectors(6), {stage: {1, 4}})
    assert result.total is None
    assert "least" in result.round.reason or "needs 5" in result.round.reason


def test_a_cohort_of_four_is_not_begun_even_if_the_operator_asks_for_it():
    result = run_round(vectors(4), cohort=1)
    assert result.total is None
    assert result.round.reason == "Only 4 joined; the round needs 5."


def test_a_large_round_is_summed_over_a_graph_in_which_not_all_know_all():
    members = vectors(60, words=2)
    result = run_round(members, {"masked": set(range(0, 60, 5)), "openings": set(range(1, 60, 9))})
    assert np.array_equal(result.total, sum_of(members, set(range(0, 60, 5))))
    assert result.sent[1]["shares"].count(b'"sealed"') == choose_degree(60).neighbours < 59


def test_real_numbers_are_summed_to_a_hundred_thousandth():
    random = np.random.default_rng(3)
    numbers = [random.normal(size=500).clip(-8, 8) for _ in range(20)]
    code = FixedPoint(limit=8, members=80)
    result = run_round([code.encode(vector) for vector in numbers], {"masked": {0, 1, 2, 3, 4, 5}})
    truth = np.sum(numbers[6:], axis=0)
    error = np.linalg.norm(code.decode(result.total) - truth) / np.linalg.norm(truth)
    assert error <= 1e-5

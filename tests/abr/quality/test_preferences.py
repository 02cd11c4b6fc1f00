"""Scores from forced choices: what was true comes out, with intervals that hold it as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.quality.preferences import Preference, bradley_terry, preferred_share


def simulated_votes(strengths: dict[str, float], each: int, seed: int) -> list[Preference]:
    """`each` choices between every two conditions, as the model has them."""
    random, names, votes = np.random.default_rng(seed), list(strengths), []
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            chance = 1 / (1 + math.exp(strengths[other] - strengths[one]))
            for _ in range(each):
                votes.append(Preference(one, other) if random.random() < chance else Preference(other, one))
    return votes


def test_true_scores_lie_in_their_intervals_as_often_as_they_should():
    true = {"plain": -1.0, "lifted": 0.2, "next": 0.8}
    inside = total = 0
    for seed in range(60):
        for name, found in bradley_terry(simulated_votes(true, each=40, seed=seed)).items():
            inside += found.low <= true[name] <= found.high
            total += 1
    assert 0.90 <= inside / total <= 0.99


def test_two_conditions_agree_with_the_closed_form():
    """The score's difference of two conditions is the logit of the share, but for the prior's pull."""
    votes = [Preference("a", "b")] * 700 + [Preference("b", "a")] * 300
    found = bradley_terry(votes)
    assert found["a"].value - found["b"].value == pytest.approx(math.log(7 / 3), abs=0.01)
    assert found["a"].value == pytest.approx(-found["b"].value)


def test_who_won_every_time_has_a_finite_score():
    found = bradley_terry([Preference("a", "b")] * 5)
    assert found["a"].low < 10
    assert found["a"].value > found["b"].value


def test_nobody_voted():
    assert bradley_terry([]) == {}


@given(st.integers(1, 1000).flatmap(lambda votes: st.tuples(st.integers(0, votes), st.just(votes))))
def test_a_share_lies_in_its_interval(counts):
    found = preferred_share(*counts)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-12


def test_wilsons_own_example():
    """Brown, Cai and DasGupta (2001), or any table of binomial intervals: 8 of 10."""
    found = preferred_share(8, 10)
    assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_more_wins_than_votes_are_refused():
    with pytest.raises(ValueError, match="3 of 2"):
        preferred_share(3, 2)

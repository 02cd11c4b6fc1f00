"""The weight of the two medians, fitted from votes: what was true comes out, and what votes cannot tell is said."""

from __future__ import annotations

import numpy as np

from abr.quality.weight_fit import LiftVote, fit_weight

SHARPNESS = 0.18


def simulated_votes(weight: float, count: int, seed: int) -> list[LiftVote]:
    """Choices of people who see restored detail as `weight` says."""
    random = np.random.default_rng(seed)
    votes = []
    for _ in range(count):
        fidelity, detail = random.uniform(-0.2, 0.4), random.uniform(0.2, 1.0)
        step, behind_share = random.uniform(8, 25), random.integers(0, 2)
        gain = (weight * fidelity + (1 - weight) * detail) * step - behind_share * step
        preferred = bool(random.random() < 1 / (1 + np.exp(-SHARPNESS * gain)))
        votes.append(
            LiftVote(
                fidelity=fidelity,
                detail=detail,
                step=step,
                lift=step,
                behind=behind_share * step,
                preferred=preferred,
            )
        )
    return votes


def test_the_true_weight_lies_in_its_interval_as_often_as_it_should() -> None:
    inside = [
        found is not None and found.low <= true <= found.high
        for true in (0.2, 0.5, 0.8)
        for seed in range(20)
        for found in [fit_weight(simulated_votes(true, 300, seed))]
    ]
    assert 0.88 <= np.mean(inside) <= 1.0


def test_many_votes_find_the_weight() -> None:
    for true in (0.25, 0.75):
        found = fit_weight(simulated_votes(true, 5000, 1))
        assert found is not None
        assert abs(found.value - true) < 0.1
        assert found.high - found.low < 0.3


def test_votes_that_no_weight_explains_better_leave_it_open() -> None:
    same = LiftVote(fidelity=0.4, detail=0.4, step=10, lift=10, behind=0, preferred=True)
    assert fit_weight([same] * 50) is None
    assert fit_weight([]) is None


def test_the_lift_of_vmaf_bounds_what_any_weight_gives() -> None:
    """With a lift of nearly nothing both medians say the same: the interval is all that there is."""
    votes = [LiftVote(fidelity=0.3, detail=0.9, step=20, lift=0.01, behind=0, preferred=bool(n % 2)) for n in range(40)]
    found = fit_weight(votes)
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)

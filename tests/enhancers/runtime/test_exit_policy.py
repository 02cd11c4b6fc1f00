"""The policy that needs no plan: within its budget, near what a plan of the same frames brings."""

from __future__ import annotations

import numpy as np
import pytest

from abr.core.frame_plan import Action
from enhancers.planning.solver import SpanProblem, cost_of, solve, value_of
from enhancers.runtime.exit_policy import GAINS, ExitPolicy, choose_actions, forecast_kept
from enhancers.runtime.motion import Motion

EXITS, CARRY, UNIT = (1.0, 2.2, 4.2), 0.3, 20
FRAMES = 96


def film(seed: int, still: float = 0.985, moving: float = 0.9) -> np.ndarray:  # type: ignore[type-arg]
    """What is kept after each step of a film of still and moving stretches, with a cut in its middle."""
    moves = np.random.default_rng(seed).random(FRAMES // 12 + 1) < 0.4
    kept = np.where(np.repeat(moves, 12)[:FRAMES], moving, still)
    kept[[0, FRAMES // 2]] = 0.0
    return kept


def problem(kept: np.ndarray) -> SpanProblem:  # type: ignore[type-arg]
    return SpanProblem(
        gains=np.tile(np.array(GAINS) * 10, (FRAMES, 1)),
        kept=np.tile(kept[:, None], (1, len(EXITS))),
        carry_cost=round(CARRY * UNIT),
        exit_costs=tuple(round(cost * UNIT) for cost in EXITS),
    )


def decided(kept: np.ndarray, budget: float) -> np.ndarray:  # type: ignore[type-arg]
    policy = ExitPolicy(exit_costs=EXITS, carry_cost=CARRY, budget=budget)
    return np.array([policy.decide(each) for each in kept], np.uint8)


@pytest.mark.parametrize("budget", [0.25, 0.5, 1.0, 2.2])
def test_it_brings_most_of_what_a_plan_brings_for_no_more_than_its_budget(budget: float) -> None:
    shares = []
    for seed in range(6):
        film_kept = film(seed)
        known, actions = problem(film_kept), decided(film_kept, budget)
        assert cost_of(known, actions) <= budget * UNIT * FRAMES + 1e-6
        (best,) = solve(known, [int(budget * UNIT * FRAMES)])
        shares.append(value_of(known, actions) / best.value)
    assert np.mean(shares) > 0.8


def test_it_learns_how_much_a_film_really_keeps() -> None:
    truth = film(3, still=0.93, moving=0.85)
    foretold = np.where(truth > 0, 0.99, 0.0)  # all too hopeful
    for budget in (0.5, 1.0):
        known = problem(truth)
        policy = ExitPolicy(exit_costs=EXITS, carry_cost=CARRY, budget=budget)
        told = np.array(list(choose_actions(policy, foretold.tolist(), truth.tolist())), np.uint8)
        assert value_of(known, told) > value_of(known, decided(foretold, budget))


def test_nothing_is_carried_over_a_cut() -> None:
    for budget in (0.25, 1.0, 4.2):
        actions = decided(film(1), budget)
        assert actions[0] != Action.CARRY and actions[FRAMES // 2] != Action.CARRY


def test_where_time_is_plenty_every_frame_gets_the_deepest_exit_and_where_there_is_none_nothing() -> None:
    assert (decided(film(2), 4.2) == Action.FIRST_EXIT + 2).all()
    assert not decided(film(2), 0.0).any()


def test_more_motion_keeps_less_and_new_pictures_nothing() -> None:
    def motion(pixels: int, new: float) -> Motion:
        known = np.arange(20 * 40).reshape(20, 40) >= new * 800
        right = np.where(np.arange(40) % 2, pixels * 4, 0) * np.ones((20, 1), np.int32)
        return Motion(right=right.astype(np.int32), down=np.zeros((20, 40), np.int32), known=known)

    kept = [forecast_kept(motion(*each)) for each in ((0, 0.0), (2, 0.3), (8, 0.0))]
    assert 1 > kept[0] > kept[1] > kept[2] > 0.5
    assert forecast_kept(None) == forecast_kept(motion(0, 0.8)) == forecast_kept(motion(0, 1.0)) == 0

"""The actions that are chosen are the best that the budget allows: held against every other way to spend it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.core.frame_plan import Action
from enhancers.planning.solver import AGE_MAX, SpanProblem, cost_of, solve, value_of


@st.composite
def problems(draw: st.DrawFn) -> SpanProblem:
    frames, exits = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    points = st.floats(-2, 20, width=16)
    shares = st.sampled_from([0.0, 0.5, 0.9, 1.0])
    table = [[draw(points) for _ in range(exits)] for _ in range(frames)]
    kept = [[draw(shares)] * exits for _ in range(frames)]
    costs = sorted(draw(st.lists(st.integers(1, 9), min_size=exits, max_size=exits)))
    return SpanProblem(
        gains=np.array(table), kept=np.array(kept), carry_cost=draw(st.integers(0, 2)), exit_costs=tuple(costs)
    )


@given(problems(), st.integers(0, 30))
def test_no_other_plan_within_the_budget_is_better(problem: SpanProblem, budget: int) -> None:
    frames, exits = problem.gains.shape
    ways = (np.array(way, np.uint8) for way in product(range(Action.FIRST_EXIT + exits), repeat=frames))
    best = max(value_of(problem, way) for way in ways if cost_of(problem, way) <= budget)
    (found,) = solve(problem, [budget])
    assert found.cost <= budget
    assert found.value == pytest.approx(best, abs=1e-9)


def test_several_budgets_are_solved_as_each_alone() -> None:
    random = np.random.default_rng(3)
    problem = SpanProblem(
        gains=random.uniform(5, 15, (30, 3)).cumsum(axis=1),
        kept=random.uniform(0.8, 1, (30, 3)),
        carry_cost=1,
        exit_costs=(8, 17, 31),
    )
    budgets = [0, 60, 240, 600]
    together = solve(problem, budgets)
    alone = [solve(problem, [budget])[0] for budget in budgets]
    assert [each.value for each in together] == pytest.approx([each.value for each in alone])
    assert [each.value for each in together] == sorted(each.value for each in together)
    assert not together[0].actions.any()


def test_a_cut_gets_an_anchor_of_its_own() -> None:
    kept = np.full((12, 1), 0.95)
    kept[6] = 0.0  # a key frame: nothing can be carried to it
    problem = SpanProblem(gains=np.full((12, 1), 10.0), kept=kept, carry_cost=1, exit_costs=(20,))
    (found,) = solve(problem, [50])
    assert found.actions.tolist() == [2, 1, 1, 1, 1, 1] * 2


def test_an_anchor_is_carried_no_further_than_allowed() -> None:
    problem = SpanProblem(gains=np.ones((60, 1)), kept=np.ones((60, 1)), carry_cost=0, exit_costs=(1,))
    (found,) = solve(problem, [60])
    anchors = np.flatnonzero(found.actions == Action.FIRST_EXIT)
    assert found.value == 60
    assert np.diff([*anchors, 60]).max() <= AGE_MAX + 1

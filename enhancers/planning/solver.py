"""The best actions of some frames for how much they may cost: an exact dynamic program. Pure.

A span of frames is cut into runs: a frame left plain, or an anchor at one of the exits and the frames that carry its
gain. So the only state is where the span has been cut and what has been spent, and since costs are whole numbers the
best value of every budget up to the largest comes out of one table. That is a knapsack over a segmentation; NEMO
(MobiCom 2020, section 4) chooses its anchors greedily.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abr.core.arrays import Floats, Indices
from abr.core.frame_plan import Action, Actions

AGE_MAX = 23
"""Frames that may carry one anchor's gain: by then about half of it is lost, and errors cannot add up over more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpanProblem:
    """Some consecutive frames whose actions are to be chosen; the first of them cannot be carried.

    gains: (F, E) points of quality that each exit adds to a frame. kept: (F, E) the share of a carried gain that is
    left after the step to this frame, 0 where nothing can be carried (a key frame). carry_cost, exit_costs: whole
    numbers of one unit; exit costs positive. Nothing costs nothing.
    """

    gains: Floats
    kept: Floats
    carry_cost: int
    exit_costs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpanPlan:
    """actions: uint8 (F,). value: the sum of their points. cost: in units of the problem."""

    actions: Actions
    value: float
    cost: int


def solve(problem: SpanProblem, budgets: Sequence[int]) -> list[SpanPlan]:
    """The best plan of the span for each budget, in units for all frames together."""
    frames, limit = len(problem.gains), max(budgets)
    runs = _run_values(problem)
    run_costs = _run_costs(problem, runs.shape[2])
    best = np.full((frames + 1, limit + 1), -np.inf)
    best[0] = 0.0
    chosen = np.zeros((frames + 1, limit + 1), np.int16)
    for end in range(1, frames + 1):
        best[end] = best[end - 1]
        for exit_ in range(runs.shape[1]):
            for length in range(1, min(end, runs.shape[2]) + 1):
                value, cost = runs[end - length, exit_, length - 1], run_costs[exit_, length - 1]
                if value <= 0 or cost > limit:
                    continue
                offered = best[end - length, : limit + 1 - cost] + value
                row, marks = best[end, cost:], chosen[end, cost:]
                better = offered > row
                np.copyto(row, offered, where=better)
                marks[better] = 1 + exit_ * runs.shape[2] + length - 1
    return [_trace_back(problem, chosen, run_costs, budget) for budget in budgets]


def value_of(problem: SpanProblem, actions: Actions) -> float:
    """The sum of points that some actions bring; a frame carried from nothing brings nothing."""
    total, share, exit_ = 0.0, 0.0, 0
    for frame, action in enumerate(actions.tolist()):
        if action == Action.NOTHING:
            share = 0.0
            continue
        if action >= Action.FIRST_EXIT:
            share, exit_ = 1.0, action - Action.FIRST_EXIT
        else:
            share *= problem.kept[frame, exit_]
        total += share * problem.gains[frame, exit_]
    return float(total)


def cost_of(problem: SpanProblem, actions: Actions) -> int:
    """What some actions cost, in units."""
    costs = np.array([0, problem.carry_cost, *problem.exit_costs])
    return int(costs[actions].sum())


def _run_values(problem: SpanProblem) -> Floats:
    """(F, E, L) points of the run of 1 … L frames that begins with an anchor at each frame; -inf beyond the end.

    A run that would only lose by being longer ends before.
    """
    frames, exits = problem.gains.shape
    longest = min(AGE_MAX + 1, frames)
    values = np.full((frames, exits, longest), -np.inf)
    for anchor in range(frames):
        last = min(frames, anchor + longest)
        shares = np.concatenate([np.ones((1, exits)), problem.kept[anchor + 1 : last]]).cumprod(axis=0)
        points = shares * problem.gains[anchor:last]
        values[anchor, :, : last - anchor] = points.cumsum(axis=0).T
        values[anchor, :, : last - anchor][shares.T <= 0] = -np.inf
    return values


def _run_costs(problem: SpanProblem, longest: int) -> Indices:
    lengths = np.arange(longest)
    return np.array(problem.exit_costs)[:, None] + lengths * problem.carry_cost


def _trace_back(problem: SpanProblem, chosen: npt.NDArray[np.int16], run_costs: Indices, budget: int) -> SpanPlan:
    actions = np.zeros(len(chosen) - 1, np.uint8)
    end, left = len(actions), budget
    while end:
        mark = int(chosen[end, left])
        if mark == 0:
            end -= 1
            continue
        exit_, extra = divmod(mark - 1, run_costs.shape[1])
        begin = end - extra - 1
        actions[begin], actions[begin + 1 : end] = Action.FIRST_EXIT + exit_, Action.CARRY
        left, end = left - int(run_costs[exit_, extra]), begin
    return SpanPlan(actions=actions, value=value_of(problem, actions), cost=cost_of(problem, actions))

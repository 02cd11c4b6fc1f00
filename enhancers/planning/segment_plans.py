"""Frame plans of one rendition for some budgets, from what each exit gains and how long a gain can be carried. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from abr.core.arrays import Floats
from abr.core.frame_plan import Action, FramePlan
from enhancers.planning.solver import SpanPlan, SpanProblem, solve

CARRY_COST = 0.3
"""What carrying a gain takes, in runs of the cheapest exit: what it took on the machine of the benchmarks."""
BUDGETS = (0.25, 0.5, 1.0, 2.2)
"""Runs of the cheapest exit for each frame: a device that can run it on every fourth frame has a plan of its own. At
most scales the second exit takes 2.2 of them."""
EXIT_WORTH = 0.1
"""Points a frame that a deeper exit must add to a plan: its weights are as many bytes as a segment or two."""
_UNITS = 20
"""Units of cost that one run of the cheapest exit takes."""
_SPAN_FRAMES = 96
"""Frames that are planned together: the table of a span grows with the square of its frames."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RungGains:
    """What is known of the frames of one rendition.

    gains: (F, E) of each segment, points that each exit adds to each frame; one row stands for all. kept: (F,) of each
    segment, the share of a carried gain that is left after the step to each frame. macs: (E,) multiply-accumulates a
    shown pixel of each exit.
    """

    gains: tuple[Floats, ...]
    kept: tuple[Floats, ...]
    macs: tuple[float, ...]

    def first_exits(self, count: int) -> RungGains:
        """The same for the cheapest exits alone."""
        return RungGains(gains=tuple(rows[:, :count] for rows in self.gains), kept=self.kept, macs=self.macs[:count])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BudgetPlan:
    """A plan, the points that it should add to a frame, and what it takes, in runs of the cheapest exit a frame."""

    plan: FramePlan
    expected_gain: float
    load: float


def plan_rung(known: RungGains, weights_sha256: str, budgets: Sequence[float] = BUDGETS) -> list[BudgetPlan]:
    """The best plan for each budget, in runs of the cheapest exit for each frame.

    Of the exits those that a plan would gain less than EXIT_WORTH by are left out: their weights are bytes.
    """
    by_exits = [_plan_with(known.first_exits(1 + exit_), weights_sha256, budgets) for exit_ in range(len(known.macs))]
    return [_lightest(plans) for plans in zip(*by_exits, strict=True)]


def _lightest(plans: Sequence[BudgetPlan]) -> BudgetPlan:
    """The first plan, fewest exits first, that the last is hardly better than."""
    return next(each for each in plans if each.expected_gain >= plans[-1].expected_gain - EXIT_WORTH)


def _plan_with(known: RungGains, weights_sha256: str, budgets: Sequence[float]) -> list[BudgetPlan]:
    exits, frames = len(known.macs), sum(len(kept) for kept in known.kept)
    solved = [_solve_segment(known, segment, budgets) for segment in range(len(known.kept))]
    plans = []
    for number in range(len(budgets)):
        chosen = [parts[number] for parts in solved]
        plan = FramePlan(
            weights_sha256=weights_sha256,
            exits=exits,
            actions=tuple(np.concatenate([part.actions for part in parts]) for parts in chosen),
        )
        value, cost = (sum(getattr(part, name) for parts in chosen for part in parts) for name in ("value", "cost"))
        plans.append(BudgetPlan(plan=plan, expected_gain=value / frames, load=cost / _UNITS / frames))
    return plans


def _solve_segment(known: RungGains, segment: int, budgets: Sequence[float]) -> list[list[SpanPlan]]:
    """For each budget the plans of the segment's spans."""
    spans = [solve(problem, _in_units(budgets, len(problem.gains))) for problem in _spans(known, segment)]
    return [[plans[number] for plans in spans] for number in range(len(budgets))]


def _spans(known: RungGains, segment: int) -> Iterator[SpanProblem]:
    kept, exits = known.kept[segment], len(known.macs)
    gains = np.broadcast_to(known.gains[segment], (len(kept), exits))
    costs = tuple(max(1, round(_UNITS * macs / known.macs[0])) for macs in known.macs)
    for begin in range(0, len(kept), _SPAN_FRAMES):
        part = slice(begin, begin + _SPAN_FRAMES)
        yield SpanProblem(
            gains=gains[part],
            kept=np.tile(kept[part, None], (1, exits)),
            carry_cost=round(_UNITS * CARRY_COST),
            exit_costs=costs,
        )


def _in_units(budgets: Sequence[float], frames: int) -> list[int]:
    return [int(budget * _UNITS * frames) for budget in budgets]


def mean_macs(plan: FramePlan, macs: Sequence[float]) -> float:
    """Multiply-accumulates a shown pixel and frame, carrying counted as CARRY_COST. macs: of each exit, or of more."""
    return float(np.dot(plan.shares(), [0.0, CARRY_COST * macs[0], *macs[: plan.exits]]))


def deepest_exit(plan: FramePlan) -> int:
    """How many exits the plan needs, at least one."""
    most = max(int(actions.max()) for actions in plan.actions)
    return max(1, most - Action.FIRST_EXIT + 1)

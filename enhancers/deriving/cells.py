"""Networks to begin a derivation from: the teacher's first blocks, one, two or more, as wide as the budget allows."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from enhancers.deriving.budget import Budget
from enhancers.deriving.costs import CostModel
from enhancers.deriving.operator_latency import GROUP
from enhancers.networks.plain import PlainArchitecture


def list_cells(costs: CostModel, budget: Budget, exits: Collection[int]) -> tuple[PlainArchitecture, ...]:
    """For each depth, the widest network of equal layers within the budget; none that fits not.

    Depths are those at which the teacher has exits: what inherits a trained tail learns more than what does not (see
    BENCHMARKS). Where none of these fits, all depths are tried.
    """
    fitting = tuple(_widest(costs, budget))
    return tuple(each for each in fitting if each.depth in exits) or fitting


def _widest(costs: CostModel, budget: Budget) -> Iterator[PlainArchitecture]:
    for depth in range(1, costs.like.depth + 1):
        widths = range(costs.like.width, GROUP - 1, -GROUP)
        fitting = next((each for each in widths if costs.fits([each] * (depth + 1), budget)), None)
        if fitting is not None:
            yield costs.like.with_channels([fitting] * (depth + 1))

"""The axes of value tables, and linear interpolation between their nodes."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from abr.core.arrays import Floats, Indices, Number
from abr.core.options import PriceList

SPREADS: Floats = np.array([0.06, 0.1, 0.16, 0.26])
"""Typical |innovation| of the throughput, in nats."""
MEANS: Floats = np.log([0.5e6, 1.7e6, 6e6])
"""Session means of the throughput, ln(bit/s)."""
BUFFERS_S = (0.0, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 12.0, 16.0, 22.0, 30.0, 42.0, 60.0, 90.0, 150.0, 300.0)
BACKLOGS_S: Floats = np.array([0.0, 5.0, 18.0])
LEVEL_STEP = 0.45
"""Nats from one throughput level to the next."""

QUALITIES = 10
"""Nodes from the worst to the best quality that a title has."""

_MEANS, _SPREADS = tuple(MEANS.tolist()), tuple(SPREADS.tolist())
_STEPS = np.arange(1024.0)


def throughput_levels(prices: PriceList) -> Floats:
    """Levels worth telling apart, ln(bit/s): from far below the lowest rung's rate to far above the highest's."""
    rates = prices.size_bytes.mean(axis=0) * 8 / prices.duration_s.mean()
    lowest, highest = (min(max(rate, 1e3), 1e10) for rate in (rates.min() * 0.12, rates.max() * 3.5))
    lowest, highest = np.log(lowest), np.log(max(highest, 2 * lowest))
    return np.linspace(lowest, highest, max(2, round((highest - lowest) / LEVEL_STEP) + 1))


def quality_nodes(prices: PriceList) -> Floats:
    """Qualities worth telling apart, VMAF: evenly from the worst to the best that the list has, holes left out."""
    known = prices.quality[prices.quality > 0]
    lowest, highest = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    return np.linspace(lowest, max(highest, lowest + 1.0), QUALITIES)


def position(value: Number, grid: Floats | tuple[float, ...]) -> tuple[int | Indices, Number]:
    """Where a value lies on a grid: index of the node below, share of the way to the next. Clamped to the grid.

    Of an array of values both are arrays of its shape. For one value the grid is best a tuple.
    """
    if isinstance(value, np.ndarray):
        along = np.interp(value, grid, _STEPS[: len(grid)])
        nodes = np.minimum(along.astype(np.intp), len(grid) - 2)
        return nodes, along - nodes
    below = min(max(bisect_right(grid, value) - 1, 0), len(grid) - 2)
    return below, min(max((value - grid[below]) / (grid[below + 1] - grid[below]), 0.0), 1.0)


def corners(
    spread: Number, level: Number, mean: Number, levels: tuple[float, ...]
) -> tuple[list[int | Indices], list[Number]]:
    """The 8 nodes around a state of the network on the grid (SPREADS, levels, MEANS), and their shares.

    Nodes are flat indices; the shares are those of linear interpolation. The state is numbers, or columns (M,). Written
    out, because a loop over the axes takes twice as long.
    """
    at, spread_share = position(spread, _SPREADS)
    below, level_share = position(level, levels)
    node, mean_share = position(mean, _MEANS)
    low = (at * len(levels) + below) * len(_MEANS) + node
    up, across = len(_MEANS), len(levels) * len(_MEANS)
    rows = [low, low + across, low + up, low + up + across]
    calm, rough = (1 - level_share) * (1 - spread_share), (1 - level_share) * spread_share
    calm_up, rough_up = level_share * (1 - spread_share), level_share * spread_share
    shares = [calm, rough, calm_up, rough_up]
    return (
        rows + [row + 1 for row in rows],
        [share * (1 - mean_share) for share in shares] + [share * mean_share for share in shares],
    )

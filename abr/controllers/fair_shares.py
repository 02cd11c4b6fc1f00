"""How a link's throughput is best divided among viewers: most quality for all, and nobody left behind.

Quality counts by the square of what it lacks to 100. Over N viewers that sum is N · (variance + (100 - mean)²), so its
least is where the mean is high and the spread is low. The best division follows from each viewer's own curve of
quality over rate by filling up where a bit a second buys most.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from abr.core.options import Menu, known_cells

PERFECT = 100.0
"""VMAF points."""


class RatePoint(NamedTuple):
    """What a viewer sees at a rate, on average over the segments to come."""

    rate_bps: float
    quality: float


def rate_curve(menu: Menu) -> tuple[RatePoint, ...]:
    """The upper concave hull of quality over rate of the menu's options, lowest rate first; at least one point.

    Options that a segment of the menu lacks, or that take longer to enhance than to play, are left out, unless all are.
    """
    seconds = float(menu.duration_s.sum())
    offered = known_cells(menu.size_bytes, menu.quality, menu.compute_s).all(axis=0)
    lasting = offered & (menu.compute_s.sum(axis=0) <= seconds)
    rates_bps, quality = menu.size_bytes.sum(axis=0) * 8 / seconds, menu.quality.mean(axis=0)
    if not lasting.any():
        return (RatePoint(0.0, 0.0),)
    hull: list[RatePoint] = []
    for rate_bps, points in sorted(zip(rates_bps[lasting].tolist(), quality[lasting].tolist(), strict=True)):
        if hull and points <= hull[-1].quality:
            continue
        point = RatePoint(rate_bps, points)
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return tuple(hull)


def _slope(low: RatePoint, high: RatePoint) -> float:
    return (high.quality - low.quality) / max(high.rate_bps - low.rate_bps, 1.0)


def fair_shares(curves: Sequence[tuple[RatePoint, ...]], capacity_bps: float) -> list[float]:
    """The rate of each viewer, in bit/s; together the capacity.

    All get their lowest rate first, or the same part of it when not even that fits. What is left when all have their
    highest rate is given out in proportion.
    """
    shares_bps = [curve[0].rate_bps for curve in curves]
    left_bps = capacity_bps - sum(shares_bps)
    steps = [
        (_lack(low) - _lack(high), high.rate_bps - low.rate_bps, viewer)
        for viewer, curve in enumerate(curves)
        for low, high in pairwise(curve)
    ]
    for _, rate_bps, viewer in sorted(steps, key=lambda step: step[0] / max(step[1], 1.0), reverse=True):
        if left_bps <= 0:
            break
        taken_bps = min(rate_bps, left_bps)
        shares_bps[viewer] += taken_bps
        left_bps -= taken_bps
    given_bps = sum(shares_bps)
    if given_bps <= 0:
        return [capacity_bps / len(curves)] * len(curves)
    return [share_bps * capacity_bps / given_bps for share_bps in shares_bps]


def _lack(point: RatePoint) -> float:
    return max(PERFECT - point.quality, 0.0) ** 2

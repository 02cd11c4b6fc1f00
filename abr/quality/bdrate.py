"""Bjøntegaard's delta rate: by how much one rate–quality curve needs fewer bits than another, at equal quality.

Each curve's log rate is interpolated over its quality, and the difference of the two is averaged over the qualities
that both reach (VCEG-M33, 2001). Interpolation is piecewise cubic and shape preserving (Fritsch and Carlson's PCHIP, as
in JCT-VC's and AOM's common test conditions), or the single cubic through four points of the first proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from abr.core.arrays import Floats
from abr.errors import InputError

Point = tuple[float, float]
"""A rate (any unit, above 0) and the quality reached with it."""
Method = Literal["pchip", "cubic"]


def bd_rate(before: Sequence[Point], after: Sequence[Point], method: Method = "pchip") -> float:
    """Mean change of rate in percent at equal quality; negative: `after` needs fewer bits.

    Points need no order. Those that cost more than another of their curve without being better are left out first.
    Raises InputError when a curve has fewer than two points left (cubic: four), or they share no quality.
    """
    curves = [_curve(points, method) for points in (before, after)]
    low = max(quality[0] for quality, _ in curves)
    high = min(quality[-1] for quality, _ in curves)
    if low >= high:
        raise InputError("These two rate-quality curves share no range of quality: measure more rungs.")
    means = [_integral(quality, log_rate, low, high, method) / (high - low) for quality, log_rate in curves]
    return float(100 * np.expm1(means[1] - means[0]))


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats at the same or a lower rate, by rising rate."""
    kept: list[Point] = []
    for rate, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return kept


def hull(points: Sequence[Point]) -> list[Point]:
    """The upper convex hull over log rate, by rising rate: what is worth offering (De Cock et al., ICIP 2016)."""
    kept: list[Point] = []
    for point in frontier(points):
        while len(kept) >= 2 and _slope(kept[-2], kept[-1]) <= _slope(kept[-1], point):
            kept.pop()
        kept.append(point)
    return kept


def _slope(a: Point, b: Point) -> float:
    return (b[1] - a[1]) / float(np.log(b[0] / a[0]))


def _curve(points: Sequence[Point], method: Method) -> tuple[Floats, Floats]:
    """Qualities, rising, and the log rate of each."""
    if any(rate <= 0 for rate, _ in points):
        raise InputError("A rate of a rate-quality curve is not above 0.")
    kept = frontier(points)
    least = 4 if method == "cubic" else 2
    if len(kept) < least:
        raise InputError(f"A rate-quality curve has {len(kept)} useful points; at least {least} are needed.")
    quality = np.array([point[1] for point in kept])
    return quality, np.log([point[0] for point in kept])


def _integral(x: Floats, y: Floats, low: float, high: float, method: Method) -> float:
    if method == "cubic":
        whole = np.polynomial.Polynomial.fit(x, y, 3).integ()
        return float(whole(high) - whole(low))
    return _pchip_integral(x, y, low, high)


def _pchip_integral(x: Floats, y: Floats, low: float, high: float) -> float:
    """∫ of the PCHIP interpolant over [low, high] inside [x₀, xₙ]."""
    slopes = _pchip_slopes(x, y)
    total = 0.0
    for i in range(len(x) - 1):
        left, right = max(low, x[i]), min(high, x[i + 1])
        if left < right:
            width = x[i + 1] - x[i]
            secant = (y[i + 1] - y[i]) / width
            c = (3 * secant - 2 * slopes[i] - slopes[i + 1]) / width
            d = (slopes[i] + slopes[i + 1] - 2 * secant) / width**2
            piece = np.polynomial.Polynomial([y[i], slopes[i], c, d]).integ()
            total += float(piece(right - x[i]) - piece(left - x[i]))
    return total


def _pchip_slopes(x: Floats, y: Floats) -> Floats:
    """Slopes at the points that keep the interpolant monotone (Fritsch and Butland 1984, as scipy and MATLAB do)."""
    width, secant = np.diff(x), np.diff(y) / np.diff(x)
    if len(x) == 2:
        return np.repeat(secant, 2)
    slopes = np.zeros_like(y)
    for i in range(1, len(x) - 1):
        if secant[i - 1] * secant[i] > 0:
            w1, w2 = 2 * width[i] + width[i - 1], width[i] + 2 * width[i - 1]
            slopes[i] = (w1 + w2) / (w1 / secant[i - 1] + w2 / secant[i])
    slopes[0] = _end_slope(width[0], width[1], secant[0], secant[1])
    slopes[-1] = _end_slope(width[-1], width[-2], secant[-1], secant[-2])
    return slopes


def _end_slope(near: float, next_: float, secant: float, secant_next: float) -> float:
    slope = ((2 * near + next_) * secant - near * secant_next) / (near + next_)
    if slope * secant <= 0:
        return 0.0
    if secant * secant_next <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return float(slope)

"""A link is divided whole, nobody is left behind, and bits go where they buy most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.controllers.fair_shares import RatePoint, fair_shares, rate_curve
from abr.simulation.benchmark_data import classic_prices

points = st.lists(st.tuples(st.floats(1e4, 1e7), st.floats(0, 100)), min_size=1, max_size=6)
curves = points.map(
    lambda found: tuple(
        RatePoint(rate_bps, quality)
        for rate_bps, quality in zip(sorted(r for r, _ in found), sorted(q for _, q in found), strict=True)
    )
)


@given(st.lists(curves, min_size=1, max_size=12), st.floats(1e3, 1e9))
def test_shares_are_the_whole_capacity(found: list[tuple[RatePoint, ...]], capacity_bps: float) -> None:
    shares_bps = fair_shares(found, capacity_bps)
    assert sum(shares_bps) == pytest.approx(capacity_bps)
    assert min(shares_bps) >= 0


def test_what_is_left_goes_where_it_buys_most() -> None:
    easy = (RatePoint(1e5, 80.0), RatePoint(1e6, 95.0))
    hard = (RatePoint(1e5, 30.0), RatePoint(1e6, 70.0))
    assert fair_shares([easy, hard], 1.1e6) == pytest.approx([1e5, 1e6])
    assert fair_shares([easy, hard], 2e6) == pytest.approx([1e6, 1e6])


def test_of_two_equal_gains_the_one_further_from_perfect_comes_first() -> None:
    poor = (RatePoint(1e5, 30.0), RatePoint(1e6, 50.0))
    rich = (RatePoint(1e5, 60.0), RatePoint(1e6, 80.0))
    assert fair_shares([rich, poor], 1.1e6) == pytest.approx([1e5, 1e6])


def test_too_little_for_all_lowest_rates_is_divided_in_their_proportion() -> None:
    assert fair_shares([(RatePoint(1e5, 50.0),), (RatePoint(3e5, 50.0),)], 2e5) == pytest.approx([5e4, 1.5e5])


def test_a_curve_leaves_out_what_does_not_pay_what_is_late_and_what_is_not_there() -> None:
    prices = classic_prices(segments=4)
    quality = np.tile([10.0, 20.0, 21.0, 60.0, 70.0, 80.0], (4, 1))
    compute_s = np.zeros_like(quality)
    compute_s[:, 4] = 5.0
    size_bytes = prices.size_bytes.copy()
    size_bytes[2, 5] = np.nan
    menu = replace(prices, quality=quality, compute_s=compute_s, size_bytes=size_bytes).menu(0, 4)
    assert [round(point.rate_bps) for point in rate_curve(menu)] == [300_000, 1_850_000]

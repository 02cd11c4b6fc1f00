"""Bjøntegaard's delta rate: published examples, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.errors import InputError
from abr.quality.bdrate import bd_rate, frontier, hull

# JCTVC-E137 (2011), as the test of Netflix's vmaf gives it: points of two encoders, and their BD-rate by PCHIP.
PUBLISHED = [
    (
        [(108048.8736, 43.6471), (61279.976, 40.3953), (33905.6656, 37.247), (18883.6928, 34.2911)],
        [(108061.2784, 43.6768), (61299.9936, 40.4232), (33928.7472, 37.2761), (18910.912, 34.3147)],
        -0.465215420752807,
    ),
    (
        [(40433.8848, 37.5761), (7622.7456, 35.3756), (2394.488, 33.8977), (1017.6184, 32.0603)],
        [(40370.12, 37.5982), (7587.0024, 35.4025), (2390.0944, 33.9194), (1017.0984, 32.0822)],
        -1.8779823450567612,
    ),
]


@pytest.mark.parametrize(("before", "after", "published"), PUBLISHED)
def test_published_examples(
    before: list[tuple[float, float]], after: list[tuple[float, float]], published: float
) -> None:
    assert bd_rate(before, after) == pytest.approx(published, abs=1e-4)
    assert bd_rate(list(reversed(before)), after) == bd_rate(before, after)
    assert bd_rate(before, after, method="cubic") == pytest.approx(published, abs=0.1)


@given(
    st.lists(st.tuples(st.floats(10, 1e5), st.floats(0, 100)), min_size=2, max_size=8, unique_by=lambda p: round(p[1])),
    st.floats(0.3, 3),
)
def test_the_same_curve_at_another_price_costs_that_much_more(points: list[tuple[float, float]], factor: float) -> None:
    if len(frontier(points)) < 2:
        with pytest.raises(InputError):
            bd_rate(points, points)
        return
    dearer = [(rate * factor, quality) for rate, quality in points]
    assert bd_rate(points, dearer) == pytest.approx(100 * (factor - 1), rel=1e-6, abs=1e-6)


def test_curves_without_a_quality_in_common_are_refused() -> None:
    with pytest.raises(InputError, match="share no range"):
        bd_rate([(1.0, 10.0), (2.0, 20.0)], [(1.0, 30.0), (2.0, 40.0)])


def test_what_lies_under_the_hull_is_not_worth_offering() -> None:
    points = [(100.0, 40.0), (200.0, 62.0), (250.0, 63.0), (300.0, 55.0), (400.0, 80.0)]
    assert frontier(points) == [(100.0, 40.0), (200.0, 62.0), (250.0, 63.0), (400.0, 80.0)]
    assert hull(points) == [(100.0, 40.0), (200.0, 62.0), (400.0, 80.0)]

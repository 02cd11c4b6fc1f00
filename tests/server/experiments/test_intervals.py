"""What the intervals of an experiment promise: they hold at every look, and they see what is there.

Each number is of many whole experiments of 400 visits, looked at after every single visit from the first interval on.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from server.experiments.intervals import ALPHA, LEAST, PLANNED, estimate_difference, estimate_mean, is_uneven, widening
from server.experiments.tally import Moments

VISITS, EXPERIMENTS = 400, 2000
FALSE_ALARMS_MAX = ALPHA + 3 * (ALPHA * (1 - ALPHA) / EXPERIMENTS) ** 0.5
"""More would not be chance, were the intervals to err just as often as they may."""

Draw = NDArray[np.float64]


def steady(chance: np.random.Generator) -> Draw:
    """QoE that is spread as on home networks."""
    return chance.normal(80, 7.5, (EXPERIMENTS, VISITS))


def skewed(chance: np.random.Generator) -> Draw:
    """As on mobile networks: most are well, a few are very badly off."""
    badly_off = chance.random((EXPERIMENTS, VISITS)) < 0.1
    return np.where(badly_off, chance.uniform(-100, 40, badly_off.shape), chance.normal(85, 6, badly_off.shape))


def watch(qoe: Draw, gain: float, chance: np.random.Generator) -> tuple[Draw, Draw, NDArray[np.bool_]]:
    """(experiments, visits): the difference so far, its standard error, and whether there are intervals yet.

    Each visit is drawn into one of two arms; in the second it gains so many points.
    """
    second = chance.random(qoe.shape) < 0.5
    sums = []
    for mask in (second, ~second):
        count, values = mask.cumsum(axis=1), (qoe + gain * second) * mask
        mean = values.cumsum(axis=1) / np.maximum(count, 1)
        squares = (values**2).cumsum(axis=1) - count * mean**2
        sums.append((count, mean, squares / np.maximum(count - 1, 1) / np.maximum(count, 1)))
    (count, mean, error2), (other_count, other_mean, other_error2) = sums
    return mean - other_mean, np.sqrt(error2 + other_error2), np.minimum(count, other_count) >= LEAST


def half_widths(error: Draw) -> Draw:
    return error * np.array([widening(visits, PLANNED, ALPHA) for visits in range(1, VISITS + 1)])


@pytest.mark.parametrize("draw", [steady, skewed])
@pytest.mark.parametrize("gain", [0.0, 3.0])
def test_the_truth_is_hardly_ever_left_out_however_often_one_looks(draw, gain):
    chance = np.random.default_rng(7)
    difference, error, there = watch(draw(chance), gain, chance)
    left_out = (np.abs(difference - gain) > half_widths(error)) & there
    assert left_out.any(axis=1).mean() <= FALSE_ALARMS_MAX


def test_an_interval_for_one_look_errs_far_too_often_when_it_is_watched():
    chance = np.random.default_rng(7)
    difference, error, there = watch(steady(chance), 0.0, chance)
    left_out = (np.abs(difference) > 1.96 * error) & there
    assert left_out[:, -1].mean() <= FALSE_ALARMS_MAX, "looked at once, it is as good as it says"
    assert left_out.any(axis=1).mean() > 0.2


def test_a_difference_of_three_points_is_found_by_400_visits():
    chance = np.random.default_rng(7)
    difference, error, there = watch(steady(chance), 3.0, chance)
    found = (difference - half_widths(error) > 0) & there
    assert found.any(axis=1).mean() > 0.8
    narrower, error, there = watch(80 + (steady(chance) - 80) * 5 / 7.5, 3.0, chance)
    assert ((narrower - half_widths(error) > 0) & there).any(axis=1).mean() > 0.99


def test_what_an_experiment_tells_is_what_was_watched_here():
    chance = np.random.default_rng(3)
    one, two = chance.normal(80, 7.5, 190), chance.normal(83, 7.5, 210)
    moments = [Moments(len(each), float(each.mean()), float(each.var(ddof=1))) for each in (one, two)]
    told = estimate_difference(moments[1], moments[0])
    error = np.sqrt(one.var(ddof=1) / 190 + two.var(ddof=1) / 210)
    assert told.mean == pytest.approx(two.mean() - one.mean())
    assert told.low == pytest.approx(told.mean - error * widening(VISITS, PLANNED, ALPHA))
    assert told.leaves_out_zero


def test_the_mean_of_one_arm_is_within_its_interval_at_every_look():
    chance = np.random.default_rng(5)
    qoe = steady(chance)[:, :200]
    visits = np.arange(1, 201)
    mean = qoe.cumsum(axis=1) / visits
    variance = ((qoe**2).cumsum(axis=1) - visits * mean**2) / np.maximum(visits - 1, 1)
    half = np.sqrt(variance / visits) * [widening(each, PLANNED / 2, ALPHA) for each in visits]
    left_out = (np.abs(mean - 80) > half)[:, LEAST - 1 :]
    assert left_out.any(axis=1).mean() <= FALSE_ALARMS_MAX
    told = estimate_mean(Moments(200, float(mean[0, -1]), float(variance[0, -1])), planned=PLANNED / 2)
    assert told.high == pytest.approx(mean[0, -1] + half[0, -1])


@pytest.mark.parametrize("count", [0, 1, LEAST - 1])
def test_too_few_visits_have_no_interval(count):
    few, many = Moments(count, 50.0, 10.0), Moments(1000, 60.0, 10.0)
    assert estimate_mean(few, planned=200).low is None
    told = estimate_difference(few, many)
    assert (told.low, told.high, told.leaves_out_zero) == (None, None, False)


def test_intervals_are_narrowest_for_their_error_where_planned():
    at = {count: widening(count, PLANNED, ALPHA) for count in (100, 300, PLANNED, 500, 4000)}
    assert min(at, key=lambda count: at[count]) == PLANNED
    assert 3.0 < at[PLANNED] < 3.1


def test_arms_of_uneven_size_are_told_apart_from_chance():
    chance = np.random.default_rng(11)
    counts = (chance.random((EXPERIMENTS, 1000)) < 0.5).cumsum(axis=1)
    alarms = [any(is_uneven(int(row[n]), n + 1, 0.5) for n in range(100, 1000, 50)) for row in counts[:500]]
    assert np.mean(alarms) <= 0.01
    assert is_uneven(400, 1000, 0.5) and not is_uneven(480, 1000, 0.5)
    assert is_uneven(150, 1000, 0.1) and not is_uneven(110, 1000, 0.1)
    assert not is_uneven(0, 2 * LEAST - 1, 0.5), "too few to say"

"""What a round takes by the formulas, and the verdict: what binds, and when it would fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abr.core.device import EnergySource
from abr.federation.costs import Limits, RoundCost, TrainingAbility, TrainingLoad, cost_of, judge_cost
from abr.federation.gains import GainCurve
from abr.federation.speech import PAPER_YEAR, count_parameters, rounds_of, wav2vec_base

LOAD = TrainingLoad(
    name="n", trained=1000, values=500, macs=1e6, outputs=100, activation_bytes=2000, batch=4, steps=10, data_bytes=7
)
ABILITY = TrainingAbility(
    base_bytes=1e6,
    kept_times=2.0,
    begin_s=1.0,
    step_s=0.1,
    output_s=1e-4,
    mac_s=1e-8,
    watts=3.0,
    source=EnergySource.RAPL,
)
COST = RoundCost(memory_bytes=100e6, seconds=30.0, joules=100.0, traffic_bytes=1e6)


def test_a_round_costs_what_it_is_made_of():
    cost = cost_of(LOAD, ABILITY, cohort=20)
    assert cost.memory_bytes == 1e6 + 7 + 20 * 1000 + 2 * 4 * 2000
    assert cost.seconds == pytest.approx(1.0 + 10 * (0.1 + 4 * 100 * 1e-4 + 3 * 4 * 1e6 * 1e-8))
    assert cost.joules == pytest.approx(3 * cost.seconds)
    assert cost.traffic_bytes == 2 * 4 * 500 + 592 * 19 + 2500
    slow = cost_of(LOAD, ABILITY.slowed(4), cohort=20)
    assert (slow.seconds, slow.memory_bytes) == (pytest.approx(4 * cost.seconds), cost.memory_bytes)


def test_what_fits_goes_now_and_says_what_is_nearest_to_its_limit():
    verdict = judge_cost(COST, Limits(), 2026)
    assert (verdict.goes, verdict.binding, verdict.share, verdict.year) == (True, "time", 0.5, 2026)


@pytest.mark.parametrize(
    ("over", "binding"),
    [
        ({"memory_bytes": 1024e6}, "memory"),
        ({"seconds": 120.0}, "time"),
        ({"joules": 4000.0}, "energy"),
        ({"traffic_bytes": 10e6}, "bytes"),
    ],
)
def test_what_does_not_fit_says_why_and_from_when_it_would(over: dict[str, float], binding: str):
    verdict = judge_cost(replace(COST, **over), Limits(growth=0.25), 2026)
    assert (verdict.goes, verdict.binding) == (False, binding)
    assert verdict.year == 2030, "twice the limit: 1.25 ** 4 is the first power above 2"
    assert judge_cost(replace(COST, **over), Limits(growth=0.0), 2026).year is None


def test_rounds_to_a_gain_are_read_off_the_fitted_curve():
    curve = GainCurve([1.0, 1.5, 1.75, 1.875])
    assert curve.after(2) == pytest.approx(1.5, abs=0.02)
    assert curve.limit == pytest.approx(2.0, abs=0.1)
    assert [curve.rounds_to(points) for points in (0.5, 1.4, 5.0)] == [1, 2, None]


def test_speech_is_the_published_configuration():
    assert count_parameters() == pytest.approx(95e6, rel=0.005)
    load = wav2vec_base(20)
    assert load.batch * 250_000 == pytest.approx(1.4e6, rel=0.08)
    assert 100e9 < load.macs < 140e9, "of a crop of 15.6 s"
    assert rounds_of(cohort=64, steps=400_000) == 1
    assert PAPER_YEAR == 2027

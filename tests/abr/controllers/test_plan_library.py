"""Plans that many devices share: small, nearly as good as exact ones, and never waited for."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from price_lists import make_prices

from abr.controllers.toprung import device_classes
from abr.controllers.toprung.candidates import candidates_of
from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.device_classes import buffer_class_s, class_of
from abr.controllers.toprung.plan_library import WINDOW, PlanLibrary
from abr.controllers.toprung.value_tables import value_table_of
from abr.core.control import Download, Observation
from abr.simulation.batch_simulator import simulate_many
from abr.simulation.traces import make

PRICES = make_prices(60)
NOTHING = np.zeros(len(PRICES.choices))


def costing(times, prices=PRICES):
    return replace(prices, compute_s=prices.compute_s * times, lead_s=prices.lead_s * times)


def offering(options, prices=PRICES):
    keep = list(options)
    columns = {
        name: getattr(prices, name)[:, keep] for name in ("size_bytes", "compute_s", "lead_s", "quality", "vmaf")
    }
    choices, weights = (tuple(each[i] for i in keep) for each in (prices.choices, prices.weights))
    return replace(prices, choices=choices, weights=weights, **columns)


def device(prices):
    return class_of(prices, candidates_of(prices).options)


def rough_traces(count):
    rng = np.random.default_rng(7)
    steps = [np.exp(rng.normal(np.log(1.5e6), 0.7, 60)) * (rng.random(60) > 0.05) for _ in range(count)]
    return [
        make(f"t{k}", [(float(rng.uniform(2, 8)), float(bps), 0.08) for bps in rates]) for k, rates in enumerate(steps)
    ]


def ask(prices, segment=5, buffer_s=9.0):
    return Observation(
        now_s=20.0,
        menu=prices.menu(segment, 1),
        buffer_s=buffer_s,
        buffer_max_s=60.0,
        downloads=(Download(started_s=1.0, duration_s=2.0, latency_s=0.05, size_bytes=500_000),),
        last=prices.choices[0],
    )


def test_a_class_does_not_depend_on_who_was_classified_before():
    """What devices of one title have in common is kept; one that lacks some segments does not disturb the others."""
    holes = np.where(PRICES.compute_s > 0, np.arange(len(PRICES.duration_s))[:, None] % 7 == 0, False)
    kinds = [PRICES, costing(5), replace(PRICES, compute_s=np.where(holes, np.nan, PRICES.compute_s))]
    options = tuple(range(len(PRICES.choices)))
    keys = [class_of(replace(each), options).key for each in kinds]
    assert [class_of(replace(each), options).key for each in reversed(kinds)] == keys[::-1]
    copy = replace(PRICES, size_bytes=PRICES.size_bytes.copy(), quality=PRICES.quality.copy())
    assert class_of(copy, options).key == keys[0]
    assert len(set(keys)) == 3
    kept = len(device_classes._offers)
    del copy
    gc.collect()
    assert len(device_classes._offers) == kept - 1, "it goes with the tables that it was made from"


def test_devices_that_cost_about_the_same_are_of_one_class_and_others_are_not():
    assert device(costing(1.03)).key == device(PRICES).key == device(costing(0.97)).key
    assert device(costing(2.3)).key != device(PRICES).key
    assert device(offering(range(6))).key != device(PRICES).key
    assert device(make_prices(60, seed=2)).title != device(PRICES).title == device(offering([0, 3, 6])).title


def test_a_like_device_is_nearer_than_one_that_is_offered_less():
    all_options, without_best, plain = device(PRICES), device(offering([0, 1, 2, 3, 4, 6])), device(offering([0, 3, 6]))
    assert all_options.distance(all_options) == 0
    assert all_options.distance(without_best) < all_options.distance(plain)


@pytest.mark.parametrize(("buffer_max_s", "planned_s"), [(60, 60), (50, 60), (33, 30), (0.01, 3.75), (3600, 960)])
def test_buffers_fall_into_classes_too(buffer_max_s, planned_s):
    assert buffer_class_s(buffer_max_s) == planned_s


def test_a_compact_plan_is_nearly_as_good_as_exact_values_and_a_small_part_of_them():
    traces, library = rough_traces(12), PlanLibrary()
    exact, compact = (
        np.mean([session.qoe for session in simulate_many(PRICES, traces, controller).experiences])
        for controller in (Toprung(), Toprung(plans=library))
    )
    assert compact == pytest.approx(exact, abs=0.7)
    tables = value_table_of(PRICES, candidates_of(PRICES).options, 0, 60.0).values.nbytes * len(PRICES.duration_s) / 20
    assert 0 < library.memory_bytes < tables / 20


def test_one_plan_serves_a_device_near_to_its_own():
    library = PlanLibrary()
    library.plan(PRICES, 0, NOTHING, 60.0)
    assert library.is_planned(costing(1.03), 3, NOTHING, 60.0)
    assert not library.is_planned(PRICES, WINDOW, NOTHING, 60.0), "farther on in the title"
    assert not library.is_planned(PRICES, 0, NOTHING, 15.0), "with much less of a buffer"
    assert not library.is_planned(offering([0, 3, 6]), 0, NOTHING[:3], 60.0)


def test_until_a_plan_is_there_the_nearest_decides_and_before_that_a_rule_and_the_reason_says_so():
    controller = Toprung(plans=PlanLibrary())
    plain = offering([0, 3, 6])
    first = controller.decide(ask(PRICES))
    assert "no plan yet" in first.reason and len(first.memory) == 5
    controller.precompute(plain, 0, NOTHING[:3], 60.0)
    assert "a device like it" in controller.decide(ask(PRICES)).reason
    controller.precompute(PRICES, 0, NOTHING, 60.0)
    own = controller.decide(ask(PRICES))
    assert "worth" in own.reason and "like it" not in own.reason
    assert own.option == Toprung().decide(ask(PRICES)).option


def test_what_the_own_device_cannot_finish_in_time_is_never_chosen_whatever_its_class_can():
    controller, slow = Toprung(plans=PlanLibrary()), costing(1.2)
    controller.precompute(PRICES, 0, NOTHING, 60.0)
    seen = ask(slow, buffer_s=3.0)
    chosen = controller.decide(seen)
    assert seen.menu.lead_s[0, chosen.option] <= seen.buffer_s


def test_plans_unused_for_longest_go_first_and_memory_is_bounded_in_bytes():
    one = PlanLibrary()
    one.plan(PRICES, 0, NOTHING, 60.0)
    library = PlanLibrary(bytes_max=int(one.memory_bytes * 3.5))
    titles = [make_prices(20, seed=seed) for seed in range(6)]
    for prices in titles:
        library.plan(titles[0], 0, NOTHING, 60.0)
        library.plan(prices, 0, NOTHING, 60.0)
        library.is_planned(titles[0], 0, NOTHING, 60.0)
        assert library.memory_bytes <= one.memory_bytes * 3.5
    there = [library.is_planned(prices, 0, NOTHING, 60.0) for prices in titles]
    assert there[0] and there[-1] and not all(there)


def test_sessions_are_decided_alike_alone_and_together_on_different_titles_and_devices():
    controller = Toprung(plans=PlanLibrary())
    lists = [PRICES, costing(1.4), make_prices(60, seed=2), offering([0, 1, 3, 6]), make_prices(60, weights=True)]
    for prices in lists:
        controller.precompute(prices, 5, prices.menu(5, 1).weights_bytes, 60.0)
    asked = [ask(prices, buffer_s=buffer_s) for prices in lists for buffer_s in (4.0, 11.0)]
    together = controller.decide_batch(asked)
    assert [decision.option for decision in together] == [controller.decide(each).option for each in asked]

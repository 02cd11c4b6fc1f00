"""What an option is worth: the same for one viewer and for many, whatever the weights, the backlog and the holes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_lists import make_prices

from abr.controllers.toprung.candidates import candidates_of
from abr.controllers.toprung.forecast import Forecast
from abr.controllers.toprung.option_table import option_table_of, planned_table_of, stack_tables
from abr.controllers.toprung.option_values import PlayerState, evaluate_options, stack_states
from abr.controllers.toprung.plan_library import PlanLibrary

WHOLE = make_prices(40, weights=True)
LISTS = {"whole segments": WHOLE, "frame by frame": replace(WHOLE, lead_s=np.zeros_like(WHOLE.lead_s))}
finite = {"allow_nan": False, "allow_infinity": False}


def lacking(prices, owned):
    return np.array([sum(prices.weights_bytes[key] for key in keys if key not in owned) for keys in prices.weights])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(LISTS)),
    segment=st.integers(0, 39),
    owned=st.sets(st.sampled_from(sorted(WHOLE.weights_bytes))),
    levels=st.lists(st.floats(9, 20, **finite), min_size=2, max_size=4),
    buffer_s=st.floats(0, 40, **finite),
    backlog_s=st.one_of(st.just(0.0), st.floats(0, 30, **finite)),
)
def test_options_have_the_same_values_for_many_sessions_as_for_each(name, segment, owned, levels, buffer_s, backlog_s):
    prices, count = LISTS[name], len(levels)
    table = option_table_of(prices, segment, lacking(prices, owned), 30.0)
    level = np.array(levels)
    network = Forecast(
        level=level, spread=np.linspace(-3, -1, count), mean=level - 0.5, downloads=3, until_s=np.zeros(count)
    )
    player = {"buffer_s": buffer_s, "backlog_s": backlog_s, "latency_s": 0.05, "vmaf_before": 60.0}
    columns = PlayerState(forecast=network, **{key: np.full(count, value) for key, value in player.items()})
    together = evaluate_options(table, stack_states([columns], [table.levels]))
    states = [
        PlayerState(
            forecast=Forecast(
                level=levels[row], spread=float(network.spread[row]), mean=levels[row] - 0.5, downloads=3, until_s=0.0
            ),
            **player,
        )
        for row in range(count)
    ]
    several = evaluate_options(table, stack_states(states, [table.levels] * count))
    for row, state in enumerate(states):
        alone = evaluate_options(table, stack_states([state], [table.levels]))[0]
        assert alone == pytest.approx(together[row], rel=1e-6, abs=1e-3)
        assert alone == pytest.approx(several[row], rel=1e-6, abs=1e-3)


OTHER_TITLE = make_prices(40, weights=True, seed=7)
OTHER_DEVICE = replace(WHOLE, compute_s=WHOLE.compute_s * 1.5, lead_s=WHOLE.lead_s * 1.5)


@pytest.mark.parametrize("owned", [frozenset(), frozenset(list(WHOLE.weights_bytes)[:1])], ids=["none", "some"])
@pytest.mark.parametrize("backlog_s", [0.0, 25.0])
def test_viewers_of_several_titles_and_devices_are_decided_for_at_once_as_each_alone(owned, backlog_s):
    tables = []
    for number, prices in enumerate((WHOLE, OTHER_TITLE, OTHER_DEVICE, WHOLE)):
        owns = {key for key, name in zip(prices.weights_bytes, WHOLE.weights_bytes, strict=True) if name in owned}
        what = prices, 3 + number, lacking(prices, owns), 30.0
        found = LIBRARY.find_all(*what) or LIBRARY.plan(*what) or LIBRARY.find_all(*what)
        assert found is not None
        tables.append(planned_table_of(*what[:3], found.plans))
    assert len({table.shape for table in tables}) == 1
    assert len({table.levels for table in tables}) == 2
    states = [
        PlayerState(
            forecast=Forecast(level=13.0 + number, spread=-2.0, mean=14.0, downloads=3, until_s=0.0),
            latency_s=0.1,
            buffer_s=9.0,
            backlog_s=backlog_s,
            vmaf_before=60.0,
        )
        for number in range(len(tables))
    ]
    together = evaluate_options(stack_tables(tables), stack_states(states, [table.levels for table in tables]))
    for row, (table, state) in enumerate(zip(tables, states, strict=True)):
        alone = evaluate_options(table, stack_states([state], [table.levels]))[0]
        assert together[row] == pytest.approx(alone, rel=1e-5, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    devices=st.lists(
        st.tuples(st.floats(0.2, 12, **finite), st.integers(1, 3), st.integers(0, 39)), min_size=2, max_size=5
    ),
    backlog_s=st.sampled_from([0.0, 25.0]),
)
def test_viewers_who_may_choose_among_more_or_fewer_options_are_decided_for_at_once_as_each_alone(devices, backlog_s):
    tables, states = [], []
    for number, (times, owned, segment) in enumerate(devices):
        prices = replace(WHOLE, compute_s=WHOLE.compute_s * times, lead_s=WHOLE.lead_s * times)
        what = prices, segment, lacking(prices, set(list(WHOLE.weights_bytes)[:owned])), 30.0
        plans = LIBRARY.find_all(*what) or LIBRARY.plan(*what) or LIBRARY.find_all(*what)
        tables.append(planned_table_of(*what[:3], plans.plans))
        network = Forecast(level=13.0 + number, spread=-2.0, mean=14.0, downloads=3, until_s=0.0)
        states.append(PlayerState(forecast=network, latency_s=0.1, buffer_s=9.0, backlog_s=backlog_s, vmaf_before=60.0))
    for shape in {table.shape for table in tables}:
        alike = [(table, state) for table, state in zip(tables, states, strict=True) if table.shape == shape]
        several, players = zip(*alike, strict=True)
        together = evaluate_options(stack_tables(several), stack_states(players, [table.levels for table in several]))
        for row, (table, state) in enumerate(alike):
            alone = evaluate_options(table, stack_states([state], [table.levels]))[0]
            assert together[row, : len(alone)] == pytest.approx(alone, rel=1e-5, abs=1e-3)


LIBRARY = PlanLibrary()


def test_what_a_segment_lacks_is_worth_nothing_and_spoils_nothing_else():
    vmaf = WHOLE.quality.copy()
    vmaf[8, 6] = np.nan
    holed = replace(WHOLE, quality=vmaf)
    table = option_table_of(holed, 8, lacking(holed, set()), 30.0)
    network = Forecast(level=14.5, spread=-2.0, mean=14.5, downloads=3, until_s=0.0)
    state = PlayerState(forecast=network, latency_s=0.1, buffer_s=9.0, backlog_s=0.0, vmaf_before=None)
    values = evaluate_options(table, stack_states([state], [table.levels]))[0]
    missing = [option == 6 for option in candidates_of(holed).options]
    assert any(missing) and np.isneginf(values).tolist() == missing

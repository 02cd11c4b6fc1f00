"""Sessions in lockstep are the sessions that the plain simulator plays, decision by decision."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from price_lists import make_prices

from abr.controllers import CONTROLLERS, make_controller
from abr.controllers.batch import DecisionBatch
from abr.core.control import BatchController, Decision
from abr.core.qoe import switches_per_minute
from abr.evaluation.bench_simulator import bench_simulator
from abr.simulation.batch_simulator import Networks, simulate_many
from abr.simulation.simulator import simulate
from abr.simulation.traces import constant, make

CROWDED = [name for name in CONTROLLERS if isinstance(make_controller(name), BatchController)]


def rough_traces(count, seed=5):
    """Networks of many speeds that jump about; some let nothing through at times."""
    rng, traces = np.random.default_rng(seed), []
    for k in range(count):
        levels = np.exp(rng.normal(np.log(rng.uniform(3e5, 6e6)), 0.7, 40)) * (rng.random(40) > 0.08)
        traces.append(make(f"t{k}", [(float(rng.uniform(0.5, 8)), float(level), 0.08) for level in levels]))
    return [*traces, constant(1.2e6, 0.05)]


TRACES = rough_traces(12)
LISTS = {
    "plain": make_prices(40),
    "weights": make_prices(40, weights=True),
    "frames": replace(make_prices(40, weights=True), lead_s=np.zeros((40, 7))),
}


def alone(prices, controller, **how):
    return [simulate(prices, trace, controller, **how) for trace in TRACES]


@pytest.mark.parametrize("prices", LISTS)
@pytest.mark.parametrize("name", CROWDED)
def test_a_crowd_decides_as_each_would_alone(name, prices):
    how = {"buffer_max_s": 20.0, "start_lowest": prices == "plain"}
    together = simulate_many(LISTS[prices], TRACES, make_controller(name), **how)
    one_by_one = alone(LISTS[prices], make_controller(name), **how)
    assert together.shown.tolist() == [[step.shown for step in session.steps] for session in one_by_one]
    assert together.stall_s == pytest.approx([session.stall_s for session in one_by_one], abs=1e-9)
    assert together.startup_s == pytest.approx([session.startup_s for session in one_by_one])
    assert together.size_bytes.tolist() == [session.size_bytes for session in one_by_one]
    assert [e.qoe for e in together.experiences] == pytest.approx([s.experience.qoe for s in one_by_one])
    rungs = [[LISTS[prices].choices[step.shown].rendition for step in session.steps] for session in one_by_one]
    media_s = float(LISTS[prices].duration_s.sum())
    assert together.switches_per_minute == pytest.approx([switches_per_minute(each, media_s) for each in rungs])


def test_all_decide_for_crowds_but_mpc_and_those_that_watch_each_download():
    assert set(CONTROLLERS) - set(CROWDED) == {"mpc", "mpc_greedy", "bones_monitor", "bones_auto_monitor"}


class Second:
    """Waits half a second, plays option 1, remembers how often it was asked; alone and for a crowd."""

    def decide(self, seen):
        asked = seen.memory[0] if seen.memory else 0.0
        return Decision(option=1, reason="second", wait_s=0.5, memory=(asked + 1,))

    def decide_batch(self, observations):
        assert (observations.memory[0] == observations.menu.segment).all()
        option = np.ones(len(observations), dtype=int)
        return DecisionBatch(option=option, wait_s=np.full(len(option), 0.5), memory=(observations.memory[0] + 1,))


def test_a_controller_may_wait_and_remember():
    together = simulate_many(LISTS["plain"], TRACES, Second())
    one_by_one = alone(LISTS["plain"], Second())
    assert together.stall_s == pytest.approx([session.stall_s for session in one_by_one], abs=1e-9)
    assert together.startup_s == pytest.approx([session.startup_s for session in one_by_one])


class Aloud:
    """Decides as another controller does, and knows nothing of columns."""

    def __init__(self, name):
        self.controller, self.asked = make_controller(name), 0

    def decide(self, observation):
        return self.controller.decide(observation)

    def decide_batch(self, observations):
        self.asked += 1
        assert len(observations[:2]) == 2 and len(observations) == len(TRACES)
        return [self.decide(observation) for observation in observations]


@pytest.mark.parametrize("prices", LISTS)
@pytest.mark.parametrize("name", ["toprung", "bola_e", "bones_auto", "mpc_greedy"])
def test_a_batch_can_be_gone_through_one_by_one(name, prices):
    controller = Aloud(name)
    together = simulate_many(LISTS[prices], TRACES, controller, buffer_max_s=20.0)
    assert controller.asked == 39
    one_by_one = alone(LISTS[prices], make_controller(name), buffer_max_s=20.0)
    assert together.shown.tolist() == [[step.shown for step in session.steps] for session in one_by_one]
    assert together.stall_s == pytest.approx([session.stall_s for session in one_by_one], abs=1e-9)


class Broken(Second):
    def __init__(self, answer):
        self.answer = answer

    def decide_batch(self, observations):
        return self.answer(observations)


def answer(option, wait_s=0.0, memory=()):
    return lambda observations: DecisionBatch(option=np.full(len(observations), option), wait_s=wait_s, memory=memory)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda seen: 1 / 0,
        lambda seen: None,
        answer(99),
        answer(-1),
        answer(1.0),
        answer(1, wait_s=float("nan")),
        answer(1, wait_s=1e9),
        answer(1, memory=(np.full(len(TRACES), np.nan),)),
        answer(1, memory=(np.zeros(len(TRACES)),) * 17),
        answer(1, memory=(np.zeros(1),)),
        lambda observations: [Decision(option=1, reason="too few")],
        lambda observations: [
            Decision(option=1, reason="x", memory=(0.0,) * (i % 2)) for i in range(len(observations))
        ],
    ],
)
def test_a_crowd_controller_that_fails_is_asked_one_by_one(wrong, caplog):
    together = simulate_many(LISTS["plain"], TRACES, Broken(wrong))
    assert together.stall_s.tolist() == [session.stall_s for session in alone(LISTS["plain"], Second())]
    assert "each session is simulated alone" in caplog.text


def test_tables_with_holes_and_controllers_for_one_are_simulated_one_by_one():
    vmaf = make_prices(20).quality.copy()
    vmaf[8:12, 6] = np.nan
    holed = replace(make_prices(20), quality=vmaf)
    for prices, name in ((holed, "toprung"), (make_prices(20), "mpc")):
        together = simulate_many(prices, TRACES[:3], make_controller(name))
        sessions = [simulate(prices, trace, make_controller(name)) for trace in TRACES[:3]]
        assert together.shown.tolist() == [[step.shown for step in session.steps] for session in sessions]
    assert simulate_many(holed, [], make_controller("bola")).experiences == []


spans = st.tuples(st.integers(1, 5000), st.sampled_from([0, 0, 300, 2000, 50_000]), st.integers(0, 400)).map(
    lambda span: (span[0] / 1000, span[1] * 1000.0, span[2] / 1000)
)
networks = st.lists(spans, min_size=1, max_size=12).filter(lambda rows: any(row[1] for row in rows))


@settings(max_examples=60, deadline=None)
@given(st.lists(networks, min_size=1, max_size=5), st.floats(0, 100), st.integers(0, 10**6))
def test_networks_side_by_side_take_exactly_as_long_as_each(rows, start_s, size_bytes):
    traces = [make(f"t{i}", spans) for i, spans in enumerate(rows)]
    starts_s = start_s * (1 + np.arange(len(traces)))
    latency_s, end_s = Networks(traces).fetch(starts_s, np.full(len(traces), float(size_bytes)))
    assert latency_s.tolist() == [trace.latency_at(s) for trace, s in zip(traces, starts_s.tolist(), strict=True)]
    assert end_s.tolist() == [trace.fetch_s(s, size_bytes) for trace, s in zip(traces, starts_s.tolist(), strict=True)]


VIDEO = {
    "segment_duration_ms": 2000,
    "bitrates_kbps": [400, 1200, 4000],
    "segment_sizes_bits": [[800_000, 2_400_000, 8_000_000]] * 6,
}
ENHANCE = {
    "frame_rate": 30,
    "levels": ["low"],
    "enhancement_fps": [[120.0], [60.0], [-1]],
    "base_vmaf": [[40.0] * 6, [70.0] * 6],
    "enhanced_vmaf": [[[52.0] * 6], [[80.0] * 6]],
}


def test_bench_simulator_times_three_ways_and_finds_them_agreed(tmp_path):
    for name, content in {
        "video_x": VIDEO,
        "enhance_x": ENHANCE,
        "traces_one": {"a": [[4000, 1500, 40], [3000, 300, 40]], "b": [[2000, 5000, 20]]},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    sabre = tmp_path / "sabre.py"
    sabre.write_text("import sys, json\nprint(json.load(open(sys.argv[4]))[0]['duration_ms'])\n")
    args = ["--data", str(tmp_path), "--profile", "x", "--rounds", "1", "--sabre", str(sabre)]
    result = CliRunner().invoke(bench_simulator, [*args, "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["sessions"] == 2 and report["segments"] == 6
    for figures in report["controllers"].values():
        assert figures["qoe_difference"] < 1e-6
        assert figures["ratio"] == pytest.approx(figures["lockstep"] / figures["event_loop"])
    assert report["controllers"]["bola"]["sabre"] > 0 and report["controllers"]["bones"]["sabre"] is None
    assert "toprung" in CliRunner().invoke(bench_simulator, args).stdout

"""Forecast, value tables, offline optimum, and the benchmark's files and figures."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from price_lists import make_prices

from abr.controllers import make_controller
from abr.controllers.toprung import value_tables
from abr.controllers.toprung.backward_induction import compute_values
from abr.controllers.toprung.candidates import candidates_of
from abr.controllers.toprung.forecast import forecast_throughput, nodes
from abr.controllers.toprung.grids import BACKLOGS_S, MEANS, SPREADS, corners
from abr.controllers.toprung.value_tables import fill_holes, value_table_of
from abr.core.control import Download, Observation
from abr.errors import FormatError, InputError, StorageError
from abr.evaluation.bench_abr import bench_abr
from abr.evaluation.benchmark import interval
from abr.simulation.benchmark_data import classic_prices, load_benchmark, load_title
from abr.simulation.offline_optimum import ScriptedController, optimum
from abr.simulation.simulator import simulate
from abr.simulation.traces import constant, make

BUMPY = make("bumpy", [(9.0, 2.5e6, 0.05), (6.0, 2e5, 0.1), (4.0, 0.0, 0.1), (11.0, 6e6, 0.02)])


def downloads(rates_bps):
    return tuple(
        Download(started_s=3.0 * i, duration_s=2.05, latency_s=0.05, size_bytes=int(rate / 4))
        for i, rate in enumerate(rates_bps)
    )


def rough_traces(count):
    """Throughput that jumps about and sometimes is not there at all."""
    rng, traces = np.random.default_rng(5), []
    for k in range(count):
        levels = np.exp(rng.normal(np.log(1.2e6), 0.7, 60)) * (rng.random(60) > 0.06)
        traces.append(make(f"t{k}", [(float(rng.uniform(2, 8)), float(level), 0.08) for level in levels]))
    return traces


def mean_qoe(prices, traces, name):
    sessions = [simulate(prices, t, make_controller(name), buffer_max_s=30.0, start_lowest=True) for t in traces]
    return np.mean([session.experience.qoe for session in sessions])


rates = st.lists(st.floats(1e4, 1e9), min_size=1, max_size=16)


@given(rates)
def test_a_forecast_carried_in_memory_is_the_forecast_over_all_downloads(rates_bps):
    every = downloads(rates_bps)
    memory: tuple[float, ...] = ()
    for count in range(1, len(every) + 1):
        memory = forecast_throughput(every[max(0, count - 3) : count], memory).memory()
    assert memory == pytest.approx(forecast_throughput(every).memory())


def test_the_forecast_follows_the_network():
    steady, restless = forecast_throughput(downloads([2e6] * 12)), forecast_throughput(downloads([5e5, 6e6] * 6))
    assert math.exp(steady.level) == pytest.approx(2e6, rel=0.01)
    assert steady.spread < restless.spread
    assert forecast_throughput(downloads([8e6] * 10 + [1e6] * 3)).level < math.log(2e6)
    instant = Download(started_s=0.0, duration_s=0.0, latency_s=0.0, size_bytes=10**12)
    assert math.isfinite(forecast_throughput([instant]).level)


@given(st.floats(1e-3, 10))
def test_nodes_are_a_distribution_that_widens(spread):
    innovations, chances = nodes(spread)
    assert sum(chances) == pytest.approx(1) and min(chances) >= 0
    assert len(innovations) == len(chances)
    assert np.ptp(nodes(spread * 1.5)[0]) >= np.ptp(innovations) - 1e-12


@given(st.floats(0.01, 0.5), st.floats(10, 20), st.floats(10, 20))
def test_corners_interpolate_linearly(spread, level, mean):
    levels = (11.0, 12.5, 14.0, 18.0)
    table = np.add.outer(np.add.outer(2 * SPREADS, 5 * np.array(levels)), 3 * MEANS).ravel()
    wanted = sum(
        factor * np.clip(value, grid[0], grid[-1])
        for factor, value, grid in ((2, spread, SPREADS), (5, level, levels), (3, mean, MEANS))
    )
    rows, shares = corners(spread, level, mean, levels)
    assert sum(shares) == pytest.approx(1) and table[rows] @ shares == pytest.approx(wanted)
    columns = corners(*(np.array([number, number / 2]) for number in (spread, level, mean)), levels)
    assert (table[np.array(columns[0])] * columns[1]).sum(axis=0)[0] == pytest.approx(wanted)


def test_values_grow_with_buffer_and_throughput_and_shrink_with_backlog():
    values = compute_values(make_prices(30), range(20), 30.0).values[5]
    slack = 0.5  # interpolation
    assert (np.diff(values, axis=4) > -slack).all(), "more buffer"
    assert (np.diff(values, axis=1) > -slack).all(), "higher level"
    assert (np.diff(values, axis=5) < slack).all(), "more backlog"
    assert values.shape == (len(SPREADS), values.shape[1], len(MEANS), 7, values.shape[4], len(BACKLOGS_S))


def test_with_one_option_the_value_is_what_is_left_to_earn():
    prices = make_prices(20)
    lowest = fill_holes(prices, [0])
    made = compute_values(lowest, range(20), 30.0)
    vmaf = lowest.quality[:, 0]
    earned = vmaf[6:].sum() - np.abs(np.diff(vmaf[5:])).sum()
    assert made.values[5, 0, -1, -1, 0, -1, 0] == pytest.approx(earned, abs=0.1)


def test_lists_with_the_same_content_share_their_plan():
    first, second = make_prices(12), make_prices(12)
    options = candidates_of(first).options
    assert value_table_of(first, options, 3, 30.0) is value_table_of(second, options, 7, 30.0)
    assert value_table_of(first, options, 3, 20.0) is not value_table_of(first, options, 3, 30.0)


def test_long_titles_are_planned_in_windows(monkeypatch):
    prices, options = make_prices(150), candidates_of(make_prices(150)).options
    made = value_table_of(prices, options, 45, 30.0)
    assert made.first == 45 - 45 % value_tables.WINDOW and len(made.values) == value_tables.WINDOW
    assert (
        value_table_of(prices, options, 149, 30.0).first + len(value_table_of(prices, options, 149, 30.0).values) == 150
    )
    traces = rough_traces(6)
    whole = mean_qoe(make_prices(60), traces, "toprung")
    monkeypatch.setattr(value_tables, "WINDOW", 10)
    value_tables._tables.clear()
    short = mean_qoe(make_prices(60), traces, "toprung")
    value_tables._tables.clear()
    assert short == pytest.approx(whole, abs=1.5)


def test_options_that_another_beats_are_not_planned_for():
    prices = make_prices(10)
    vmaf = prices.quality.copy()
    vmaf[:, 2] = vmaf[:, 1] - 1  # dearer than option 1 and worse
    assert candidates_of(replace(prices, quality=vmaf)).options == (0, 1, 3, 4, 5, 6)


def test_holes_are_never_planned_for():
    prices = make_prices(20)
    vmaf = prices.quality.copy()
    vmaf[8:12, 6] = np.nan
    session = simulate(
        replace(prices, quality=vmaf), constant(2e7, 0.01), make_controller("toprung"), buffer_max_s=20.0
    )
    assert all(session.steps[i].decision.option != 6 for i in range(8, 12))
    assert session.steps[13].decision.option == 6


def test_weights_are_fetched_when_they_pay_and_not_at_the_end():
    prices = make_prices(40, weights=True)
    session = simulate(prices, constant(2.2e6, 0.05), make_controller("toprung"), buffer_max_s=20.0)
    fetched = [
        i for i, step in enumerate(session.steps) if step.observation.menu.weights_bytes[step.decision.option] > 0
    ]
    assert len(fetched) == 1 and fetched[0] < 20
    dear = replace(prices, weights_bytes={"hi": 30_000_000})
    session = simulate(dear, constant(1.5e6, 0.05), make_controller("toprung"), buffer_max_s=20.0)
    assert not any(step.observation.menu.weights_bytes[step.decision.option] > 0 for step in session.steps)


def test_toprung_does_better_than_the_published_ones_on_a_network_with_outages():
    prices, traces = make_prices(90), rough_traces(6)
    names = ("toprung", "bones", "mpc_greedy", "throughput_greedy", "dynamic_greedy")
    means = {name: mean_qoe(prices, traces, name) for name in names}
    assert max(means, key=lambda name: means[name]) == "toprung", means


def test_optimum_is_the_best_of_all_tables():
    prices = make_prices(5)
    options = [0, 1, 3, 6]
    best = max(
        simulate(prices, BUMPY, ScriptedController((0, *rest)), buffer_max_s=8.0, start_lowest=True).experience.qoe
        for rest in product(options, repeat=4)
    )
    few = fill_holes(prices, options)
    found = optimum(few, BUMPY, buffer_max_s=8.0, time_step_s=0.01, backlog_step_s=0.01)
    assert found.qoe == pytest.approx(best, abs=1e-6)
    assert simulate(
        few, BUMPY, ScriptedController(found.options), buffer_max_s=8.0, start_lowest=True
    ).experience.qoe == pytest.approx(found.qoe)


def test_no_controller_beats_the_optimum():
    prices = make_prices(40)
    best = optimum(prices, BUMPY, buffer_max_s=20.0).qoe
    for name in ("toprung", "bones", "mpc_greedy", "lowest"):
        session = simulate(prices, BUMPY, make_controller(name), buffer_max_s=20.0, start_lowest=True)
        assert session.experience.qoe <= best + 0.01


VIDEO = {
    "segment_duration_ms": 4000,
    "bitrates_kbps": [400, 1200, 4000],
    "segment_sizes_bits": [[1_600_000, 4_800_000, 16_000_000]] * 12,
}
ENHANCE = {
    "device_and_model": "made up",
    "frame_rate": 30,
    "levels": ["low", "ultra"],
    "enhancement_fps": [[120.0, 40.0], [60.0, -1], [-1, -1]],
    "base_vmaf": [[40.0] * 12, [70.0] * 12],
    "enhanced_vmaf": [[[52.0] * 12, [60.0] * 12], [[80.0] * 12, [-1.0] * 12]],
}
TRACES = {"a": [[4000, 1500, 40], [3000, 300, 40]], "b": [[2000, 5000, 20]]}


@pytest.fixture
def folder(tmp_path):
    for name, content in {
        "video_x": VIDEO,
        "enhance_imdn_x": ENHANCE,
        "traces_one": TRACES,
        "traces_two": TRACES,
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def bench(folder, *args):
    return CliRunner().invoke(bench_abr, ["--data", str(folder), "--profile", "imdn_x", *args])


def test_bench_prints_what_it_promises(folder):
    result = bench(folder, "--controllers", "toprung,bones,lowest", "--json", "--plot", str(folder / "plot.svg"))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    one = report["controllers"]["toprung"]["sets"]["one"]
    assert one["n"] == 2 and one["qoe_95"][0] <= one["qoe"] <= one["qoe_95"][1]
    assert {"vmaf", "oscillation", "stall_s"} <= set(one)
    lowest = report["controllers"]["lowest"]
    assert lowest["switches_per_minute"] == 0 < report["controllers"]["bones"]["switches_per_minute"]
    assert report["controllers"]["bones"]["decision_ms_p99"] >= report["controllers"]["bones"]["decision_ms_mean"] * 0.5
    assert report["optimum"]["mean_qoe"] >= report["controllers"]["toprung"]["mean_qoe"] - 0.01
    assert "gap_closed" in report and (folder / "plot.svg").read_text().startswith("<svg")
    without = json.loads(bench(folder, "--controllers", "lowest", "--no-optimum", "--json").stdout)
    assert "optimum" not in without and list(without["controllers"]) == ["lowest"]


def test_a_plot_that_cannot_be_written_costs_no_figures(folder):
    result = bench(
        folder, "--controllers", "lowest", "--no-optimum", "--json", "--plot", str(folder / "no" / "plot.svg")
    )
    assert isinstance(result.exception, StorageError) and "Cannot write" in str(result.exception)
    assert list(json.loads(result.stdout)["controllers"]) == ["lowest"]
    assert "toprung" in bench(folder, "--no-optimum").stdout


def test_bench_table_is_priced_as_its_readme_says(folder):
    prices = load_benchmark(folder, "imdn_x")
    names = [(choice.rendition, choice.enhancer) for choice in prices.choices]
    assert names == [(0, "none"), (0, "low"), (0, "ultra"), (1, "none"), (1, "low"), (2, "none")]
    assert prices.compute_s[0].tolist() == [0, 1.0, 3.0, 0, 2.0, 0]
    assert prices.quality[0].tolist() == [40, 52, 60, 70, 80, 100]
    assert prices.size_bytes[0, 0] == 200_000


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("video_x", {"segment_sizes_bits": [[1, 2]]}, "segment_sizes_bits"),
        ("video_x", {"segment_sizes_bits": [[1, 2, -3]] * 12}, "not valid"),
        ("video_x", {"bitrates_kbps": [0, 1, 2]}, "not valid"),
        ("enhance_imdn_x", {"base_vmaf": [[40.0] * 11, [70.0] * 12]}, "base_vmaf"),
        ("enhance_imdn_x", {"base_vmaf": [[400.0] * 12, [70.0] * 12]}, "outside 0 to 100"),
        ("enhance_imdn_x", {"enhanced_vmaf": [[[1.0] * 3]]}, "enhanced_vmaf"),
        ("enhance_imdn_x", {"enhancement_fps": [[120.0]]}, "enhancement_fps"),
        ("traces_one", {"a": []}, "empty"),
    ],
)
def test_says_what_is_wrong_with_a_table(folder, file, change, says):
    path = folder / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    error = bench(folder, "--controllers", "lowest", "--no-optimum").exception
    assert isinstance(error, FormatError | InputError) and says in str(error) and "\n" not in str(error)


def test_says_which_profiles_there_are(folder):
    with pytest.raises(InputError, match="it has imdn_x"):
        load_benchmark(folder, "nas")


def test_a_sabre_movie_without_quality_is_still_playable(folder):
    prices = load_title(folder / "video_x.json")
    assert (np.diff(prices.quality[0]) > 0).all() and prices.quality[0, -1] == 100
    assert simulate(prices, constant(3e6, 0.05), make_controller("toprung")).stall_s < 1


def test_classic_points_are_pensieves_linear_qoe():
    prices = classic_prices()
    session = simulate(prices, constant(1.5e6, 0.08), make_controller("mpc"), start_lowest=True)
    assert prices.quality[0, -1] == pytest.approx(100)
    assert 0.5 < session.experience.qoe * 0.043 < 1.5


def test_the_interval_covers_the_mean():
    values = np.random.default_rng(3).normal(50, 10, 60)
    low, high = interval(values)
    assert low < values.mean() < high and high - low == pytest.approx(4 * 10 / 60**0.5, rel=0.4)


def classic_folder(tmp_path):
    for name, text in {
        "slow/a.txt": "0 1\n5 0.6\n9 0.9\n",
        "slow/b.txt": "0 1\n7 0.8\n",
        "fast/c.txt": "0 1\n5 3\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_bench_in_classic_mode_tells_pensieves_linear_qoe_for_each_folder(tmp_path):
    args = [
        "--data",
        str(classic_folder(tmp_path)),
        "--classic",
        "--no-optimum",
        "--controllers",
        "toprung,mpc",
        "--json",
    ]
    report = json.loads(CliRunner().invoke(bench_abr, args, catch_exceptions=False).stdout)
    assert report["profile"] == "classic" and set(report["controllers"]["mpc"]["sets"]) == {"fast", "slow"}
    for controller in report["controllers"].values():
        assert 1.8 < controller["sets"]["fast"]["qoe"] < 3 and 0.3 < controller["sets"]["slow"]["qoe"] < 0.8


def test_bench_tells_held_out_traces_apart_and_scales_a_set(folder):
    (folder / "traces_three").mkdir()
    (folder / "traces_three" / "log.txt").write_text("0 1\n5 2.0\n")
    result = bench(folder, "--controllers", "bola", "--no-optimum", "--json", "--scaled", "one=0.1")
    sets = json.loads(result.stdout)["controllers"]["bola"]["sets"]
    assert set(sets) == {"one", "one×0.1", "three", "two"} and sets["one×0.1"]["qoe"] < sets["one"]["qoe"]
    one = sets["one"]
    assert one["fitted"]["n"] + one["held_out"]["n"] == one["n"] == 2
    parts = [part for part in (one["fitted"], one["held_out"]) if part["n"]]
    assert sum(part["n"] * part["qoe"] for part in parts) == pytest.approx(2 * one["qoe"])
    for wrong in ("four=0.1", "one=x", "one", "one=-1"):
        assert isinstance(bench(folder, "--no-optimum", "--scaled", wrong).exception, InputError)


def test_a_lighter_enhancer_stays_worth_planning_for_beside_a_faster_and_better_one():
    prices = make_prices(weights=True)
    faster = replace(prices, compute_s=prices.compute_s * np.array([1, 1, 0.1, 1, 1, 0.1, 1]))
    assert candidates_of(faster).options == tuple(range(7))
    free = replace(faster, weights=((),) * 7, weights_bytes={})
    assert candidates_of(free).options == (0, 2, 3, 5, 6)


@pytest.mark.parametrize("owned", [(), ("lo",), ("hi",), ("lo", "hi")])
def test_what_was_precomputed_is_decided_without_a_new_table(owned):
    prices = replace(
        make_prices(40, weights=True, seed=7 + len(owned)),
        weights=((), ("lo",), ("hi",), (), ("lo",), ("hi",), ()),
        weights_bytes={"lo": 50_000, "hi": 150_000},
    )
    controller, menu = make_controller("toprung"), prices.menu(3, 8, owned)
    controller.precompute(prices, 3, menu.weights_bytes, 30.0)
    assert controller.is_precomputed(prices, 3, menu.weights_bytes, 30.0)
    plans = set(value_tables._tables)
    seen = Observation(now_s=9.0, menu=menu, buffer_s=8.0, buffer_max_s=30.0, downloads=downloads([1e6, 2e6]))
    controller.decide(seen)
    assert set(value_tables._tables) == plans

"""A title's quality in the points that people would give: what controllers plan on, and sessions are judged by."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from opinions import opinion_items, write_opinions
from price_lists import make_prices

from abr.cli import root
from abr.controllers import make_controller
from abr.core.qoe import experience
from abr.core.quality_scale import QualityScale
from abr.errors import FormatError, InputError
from abr.opinions.collected import read_opinions
from abr.opinions.dataset import parse_opinions
from abr.opinions.fitted import FittedQoe, fit_qoe
from abr.opinions.scales import Rung, in_points, list_scale, scale_of
from abr.records import dumps
from abr.simulation.benchmark_data import load_title
from abr.simulation.simulator import simulate
from abr.simulation.traces import constant


@pytest.fixture(scope="module")
def by_rate(tmp_path_factory: pytest.TempPathFactory) -> FittedQoe:
    path = write_opinions(tmp_path_factory.mktemp("opinions") / "small.json")
    return fit_qoe(read_opinions(path), features=("rate_kbps",), method="every-rater")


@pytest.fixture(scope="module")
def by_quality() -> FittedQoe:
    """From clips whose quality was known."""
    items = [
        {**item, "features": {"quality": 20.0 + 19 * (number % 5), "stall_s": float(number % 2)}}
        for number, item in enumerate(opinion_items(8, 6))
    ]
    return fit_qoe(parse_opinions(json.dumps({"items": items}).encode(), what="clips"), method="every-rater")


RUNGS = [Rung(vmaf=40.0, rate_kbps=400), Rung(vmaf=70.0, rate_kbps=1200), Rung(vmaf=90.0, rate_kbps=4000)]


def test_a_rung_is_worth_what_people_said_of_its_rate(by_rate: FittedQoe):
    scale = scale_of(by_rate, RUNGS)
    said = by_rate.points({"rate_kbps": np.array([400.0, 1200.0, 4000.0])})
    np.testing.assert_allclose(scale.of(np.array([40.0, 70.0, 90.0])), said)
    lifted = scale.of(np.array([55.0]))
    assert said[0] < lifted[0] < said[1], "a lifted picture is worth what a plain one of its VMAF would be"
    assert scale.of(np.array([100.0]))[0] >= said[2]
    assert scale.of(np.array([0.0]))[0] == 0


def test_a_qoe_of_known_quality_has_one_scale_for_all_titles(by_quality: FittedQoe):
    scale = scale_of(by_quality, [])
    assert scale == scale_of(by_quality, RUNGS)
    steps = np.array([20.0, 60.0, 96.0])
    np.testing.assert_allclose(scale.of(steps), by_quality.points({"quality": steps, "stall_s": np.zeros(3)}), atol=1.5)


@given(st.lists(st.tuples(st.floats(0, 110), st.floats(10, 50_000)), min_size=1, max_size=8))
def test_more_quality_is_never_worth_less_on_any_ladder(rungs: list[tuple[float, float]]):
    scale = scale_of(_BY_RATE, [Rung(vmaf=vmaf, rate_kbps=rate) for vmaf, rate in rungs])
    points = scale.of(np.linspace(-5, 120, 200))
    assert (np.diff(points) >= 0).all()
    assert points.min() >= 0
    assert points.max() <= 100


_BY_RATE = fit_qoe(
    parse_opinions(json.dumps({"items": opinion_items(6, 5)}).encode(), what="t"), features=("rate_kbps",)
)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 60), st.floats(0, 60))
def test_a_session_is_never_better_for_a_worse_picture_or_a_longer_stall(a: float, b: float, stall: float, more: float):
    scale = scale_of(_BY_RATE, RUNGS)
    low, high = (experience(scale.of(np.full(10, quality)), stall).qoe for quality in sorted((a, b)))
    assert low <= high
    assert experience(scale.of(np.full(10, a)), stall + more).qoe <= experience(scale.of(np.full(10, a)), stall).qoe


def test_a_simulated_session_is_judged_in_points_and_holes_stay_holes(by_rate: FittedQoe):
    prices = make_prices()
    prices.quality[3, 1] = np.nan
    scale = list_scale(by_rate, prices)
    counted = in_points(prices, scale)
    assert np.isnan(counted.quality[3, 1])
    np.testing.assert_array_equal(counted.vmaf, prices.vmaf)
    session = simulate(counted, constant(1.5e6, 0.05), make_controller("toprung"))
    shown = [prices.quality[segment, step.shown] for segment, step in enumerate(session.steps)]
    assert session.experience == experience(scale.of(np.array(shown)), session.stall_s)


def test_energy_takes_as_many_points_off_as_before(by_rate: FittedQoe):
    prices = make_prices()
    taken = np.array([0, 1.0, 3.0, 0, 1.0, 3.0, 0])
    saving = replace(prices, quality=prices.quality - taken, energy_points=taken)
    scale = list_scale(by_rate, prices)
    counted = in_points(saving, scale)
    np.testing.assert_allclose(counted.quality, scale.of(prices.quality) - taken)
    assert counted.shown_quality(2, 2) == pytest.approx(float(scale.of(prices.quality[2, 2])))


def test_what_a_title_does_not_tell_is_named(by_rate: FittedQoe, tmp_path: Path):
    tall = fit_qoe(
        parse_opinions(
            json.dumps(
                {
                    "items": [
                        {"file": f"F_1_{height}_900.yuv", "content_id": number, "scores": [1 + number]}
                        for number, height in enumerate((240, 480, 1080))
                    ]
                }
            ).encode(),
            what="t",
        )
    )
    with pytest.raises(InputError, match="height_px, which is not known here"):
        list_scale(tall, make_prices())
    assert list_scale(tall, make_prices(), (180, 360, 720)).points[-1] > 0
    with pytest.raises(InputError, match="2 heights for 3 rungs"):
        list_scale(tall, make_prices(), (180, 360))
    level = json.dumps(
        {
            "items": [
                {"file": f"a_scene_1_{level}_0.mp4", "content_id": 0, "scores": [score]}
                for level, score in ((1, 1), (9, 5))
            ]
        }
    )
    with pytest.raises(InputError, match="level"):
        scale_of(fit_qoe(parse_opinions(level.encode(), what="t"), method="every-rater"), RUNGS)
    with pytest.raises(FormatError, match="never fall"):
        QualityScale((0.0, 1.0), (5.0, 4.0))


MOVIE = {
    "segment_duration_ms": 4000,
    "bitrates_kbps": [400, 1200, 4000],
    "segment_sizes_bits": [[1_600_000, 4_800_000, 16_000_000]] * 12,
}
ENHANCE = {
    "frame_rate": 30,
    "levels": ["low"],
    "enhancement_fps": [[120.0], [60.0], [-1]],
    "base_vmaf": [[40.0] * 12, [70.0] * 12],
    "enhanced_vmaf": [[[52.0] * 12], [[80.0] * 12]],
}
TRACES = {"a": [[4000, 1500, 40], [3000, 300, 40]], "b": [[2000, 5000, 20]]}


@pytest.fixture
def data(tmp_path: Path, by_rate: FittedQoe) -> Path:
    files = {"video_x": MOVIE, "enhance_x": ENHANCE, "traces_one": TRACES, "traces_two": TRACES}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "slow.json").write_text(json.dumps([{"duration_ms": 9000, "bandwidth_kbps": 700, "latency_ms": 40}]))
    (tmp_path / "qoe.json").write_bytes(dumps(by_rate))
    return tmp_path


def run(*arguments: object):
    return json.loads(CliRunner().invoke(root, [*map(str, arguments), "--json"], catch_exceptions=False).stdout)


@pytest.mark.parametrize(("command", "traces"), [("simulate", "--trace"), ("compare", "--traces")])
def test_commands_count_in_the_points_of_a_qoe(data: Path, by_rate: FittedQoe, command: str, traces: str):
    asked = [command, data / "video_x.json", traces, data / "slow.json"]
    asked += ["--controller" if command == "simulate" else "--controllers", "lowest"]
    (plain,), (counted,) = (run(*asked, *more)["means"].values() for more in ((), ("--qoe", data / "qoe.json")))
    assert counted["vmaf"] == plain["vmaf"] == plain["quality"]
    expected = list_scale(by_rate, load_title(data / "video_x.json")).of(np.array(plain["quality"]))
    assert counted["quality"] == pytest.approx(float(expected))
    assert counted["quality"] != pytest.approx(plain["quality"], abs=0.5)


def test_bench_abr_counts_in_points_and_refuses_what_has_none(data: Path):
    asked = ["bench", "abr", "--data", data, "--profile", "x", "--controllers", "lowest", "--no-optimum"]
    plain, counted = (run(*asked, *more) for more in ((), ("--qoe", data / "qoe.json")))
    figures = [each["controllers"]["lowest"]["sets"]["one"]["vmaf"] for each in (plain, counted)]
    assert figures[1] < figures[0]
    (data / "set").mkdir()
    (data / "set" / "slow.json").write_bytes((data / "slow.json").read_bytes())
    refused = CliRunner().invoke(root, [*map(str, asked), "--classic", "--qoe", str(data / "qoe.json")])
    assert isinstance(refused.exception, InputError)


def test_bench_qoe_judges_both_plans_by_the_same_qoe(data: Path):
    asked = ["bench", "qoe", "--data", data, "--profile", "x", "--qoe", data / "qoe.json"]
    gains = run(*asked, "--controllers", "lowest,toprung", "--traces", data / "slow.json")
    assert [each["traces"] for each in gains] == ["one", "two", "slow", "all sets"] * 2
    lowest, toprung = gains[3], gains[7]
    assert lowest["sessions"] == 5
    assert lowest["gain"] == 0 == lowest["vmaf_gain"], "who never looks at quality plays the same"
    assert toprung["gain"] == pytest.approx(toprung["on_opinions"]["qoe"] - toprung["on_vmaf"]["qoe"])
    assert toprung["gain"] > -1
    wrong = CliRunner().invoke(root, [*map(str, asked), "--heights", "240,tall"])
    assert isinstance(wrong.exception, InputError)

"""The simulator against arithmetic done by hand, its logs against the replay, and its command line."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from price_lists import make_prices
from titles import prepared_title

from abr.controllers import CONTROLLERS, HORIZON, make_controller
from abr.core.control import Decision
from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.events import Decided, dumps_log, loads_log
from abr.core.playback import Playback
from abr.core.qoe import experience, high_definition, linear, logarithmic, ssim_db
from abr.errors import FormatError, ToprungError
from abr.evaluation.compare import compare
from abr.evaluation.compare import simulate as simulate_command
from abr.simulation.reference_simulator import play
from abr.simulation.replay import replay
from abr.simulation.session_log import log_of
from abr.simulation.simulator import simulate
from abr.simulation.traces import constant, make

PRICES = make_prices(30)
TRACE = make("bumpy", [(9.0, 2.5e6, 0.05), (6.0, 2e5, 0.1), (4.0, 0.0, 0.1), (11.0, 6e6, 0.02)])


class Scripted:
    """Plays the given options in turn."""

    def __init__(self, *options: int) -> None:
        self.options = options

    def decide(self, seen):
        return Decision(option=self.options[seen.menu.segment], reason="scripted")


def flat_prices():
    """Four 2 s segments of 100 kB (plain) or the same with 1.5 s of compute."""
    shape = np.ones((4, 1))
    return replace(
        make_prices(4),
        choices=make_prices(4).choices[:2],
        size_bytes=shape * [100_000.0, 100_000.0],
        compute_s=shape * [0.0, 1.5],
        lead_s=shape * [0.0, 1.5],
        quality=shape * [50.0, 60.0],
        vmaf=shape * [50.0, 60.0],
        weights=((), ()),
    )


def test_a_session_worked_out_by_hand():
    # 100 kB at 400 kbit/s take 2 s and 0.5 s latency: each download takes 2.5 s and each segment lasts 2 s
    session = simulate(flat_prices(), constant(400e3, 0.5), Scripted(0, 0, 0, 0))
    assert session.startup_s == pytest.approx(2.5)
    assert [step.stall_s for step in session.steps] == pytest.approx([0, 0.5, 0.5, 0.5])
    assert session.experience.qoe == pytest.approx(50 - 100 * 1.5 / 4)
    assert [step.starts_s for step in session.steps] == pytest.approx([2.5, 5.0, 7.5, 10.0])


def test_an_enhancement_that_would_be_late_is_shown_plain():
    # 1.5 s of compute fit before segment 1 if it arrives with 1.9 s of buffer, not if it arrives with 1 s
    session = simulate(flat_prices(), constant(8e6), Scripted(1, 1, 1, 1))
    assert [step.shown for step in session.steps] == [0, 1, 1, 1]
    slow = simulate(flat_prices(), constant(800e3), Scripted(1, 1, 1, 1))
    assert [step.shown for step in slow.steps] == [0, 0, 1, 1]
    assert slow.quality == [50.0, 50.0, 60.0, 60.0]


def test_waits_when_the_buffer_is_full():
    session = simulate(flat_prices(), constant(80e6), Scripted(0, 0, 0, 0), buffer_max_s=4.0)
    assert [step.observation.buffer_s for step in session.steps] == pytest.approx([0, 2, 2, 2], abs=0.02)
    assert session.stall_s == 0


def test_weights_are_downloaded_once():
    prices = make_prices(4, weights=True)
    session = simulate(prices, constant(20e6), Scripted(0, 2, 2, 2))
    extra = [step.download.size_bytes - prices.size_bytes[i, 0] for i, step in enumerate(session.steps)]
    assert extra == [0, 150_000, 0, 0]


@pytest.mark.parametrize("name", ["throughput_greedy", "bola", "bones", "toprung", "mpc_greedy"])
def test_an_independent_event_loop_sees_the_same_session(name):
    prices = make_prices(40)
    session = simulate(prices, TRACE, make_controller(name), buffer_max_s=20.0)
    menus = [prices.menu(segment, HORIZON) for segment in range(40)]
    vmaf, stall_s = play(prices, TRACE, make_controller(name), 20.0, menus)
    assert session.quality == pytest.approx(vmaf)
    assert session.stall_s == pytest.approx(stall_s, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0.5, 6), st.floats(0, 8)), max_size=30))
def test_playback_keeps_its_books(moves):
    playback = Playback(buffer_max_s=30.0)
    added_s = passed_s = 0.0
    for pass_s, duration_s, compute_s in moves:
        playback.advance(pass_s)
        before_s = playback.buffer_s
        accepted = playback.add(duration_s, compute_s)
        added_s, passed_s = added_s + duration_s, passed_s + pass_s
        assert playback.backlog_s >= 0 and playback.buffer_s >= 0
        assert not accepted or playback.backlog_s <= before_s + 1e-6
        assert playback.played_s + playback.buffer_s == pytest.approx(added_s)
        assert playback.startup_s + playback.played_s + playback.stall_s == pytest.approx(passed_s)


@pytest.mark.parametrize("name", list(CONTROLLERS))
def test_a_log_replays_to_the_same_decisions(name):
    prices = make_prices(30, weights=True)
    session = simulate(prices, TRACE, make_controller(name), buffer_max_s=20.0)
    log = loads_log(dumps_log(log_of(session, title="t", controller=name, network=TRACE.name)))
    assert [event.t_s for event in log] == sorted(event.t_s for event in log)
    again = replay(log, prices, make_controller(name))
    assert again.decisions == 30 and again.differences == ()
    assert max(map(abs, again.buffer_error_s)) < 1e-6


def test_replay_finds_a_decision_that_differs():
    session = simulate(PRICES, TRACE, make_controller("bola"))
    log = log_of(session, title="t", controller="bola", network="n")
    place = next(i for i, event in enumerate(log) if isinstance(event, Decided) and event.segment == 12)
    log[place] = msgspec.structs.replace(log[place], rendition="720p", enhancer="none", wait_s=3.0)
    (difference, *_) = replay(log, PRICES, make_controller("bola")).differences
    assert difference.segment == 12 and "720p" in difference.logged


def test_qoe_models_by_hand():
    assert experience([50, 60, 60], 0.3).qoe == pytest.approx(170 / 3 - 5 - 10)
    assert linear([1e6, 3e6], 1.0) == pytest.approx((4 - 2 - 4.3) / 2)
    assert logarithmic([3e5, 3e5 * np.e], 3e5, 0.0) == pytest.approx((1 - 1) / 2)
    assert high_definition([0, 5], 0.5) == pytest.approx((21 - 19 - 4) / 2)
    assert ssim_db([0.9, 0.99], 0.0) == pytest.approx((30 - 10) / 2)


@pytest.fixture
def movie(tmp_path):
    sizes = [[800_000, 2_400_000, 8_000_000]] * 15
    path = tmp_path / "movie.json"
    path.write_text(
        json.dumps({"segment_duration_ms": 2000, "bitrates_kbps": [400, 1200, 4000], "segment_sizes_bits": sizes})
    )
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "a.txt").write_text("0 1\n5 2.0\n9 0.4\n")
    (tmp_path / "traces" / "b.json").write_text('[{"duration_ms": 1000, "bandwidth_kbps": 900, "latency_ms": 20}]')
    return path


def run(command, *args):
    result = CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_simulate_command_prints_and_logs(movie, tmp_path):
    log = tmp_path / "log.jsonl"
    text = run(
        simulate_command, movie, "--trace", movie.parent / "traces", "--controller", "bola", "--log", log, "--json"
    )
    assert [row["trace"] for row in json.loads(text)["sessions"]] == ["a", "b"]
    assert sum(isinstance(event, Decided) for event in loads_log(log.read_bytes())) == 15


def test_compare_command_ranks_a_users_controller_among_the_others(movie, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from abr.core.control import Decision\n"
        "class Mine:\n"
        "    def decide(self, seen):\n"
        "        return Decision(option=0, reason='mine')\n"
    )
    plot = tmp_path / "plot.svg"
    args = (movie, "--traces", movie.parent / "traces", "--controller", f"{mine}:Mine", "--plot", plot)
    means = json.loads(run(compare, *args, "--json"))["means"]
    assert means[f"{mine}:Mine"]["qoe"] == pytest.approx(means["lowest"]["qoe"])
    assert means["toprung"]["qoe"] > means["lowest"]["qoe"]
    assert plot.read_text().startswith("<svg") and "</svg>" in plot.read_text()
    assert "toprung" in run(compare, *args)


FAILING = """
from abr.core.control import Decision

class Raises:
    def decide(self, seen): raise RuntimeError("my controller broke")

class RaisesLater:
    def decide(self, seen):
        if seen.menu.segment > 1:
            raise KeyError("x")
        return Decision(option=0, reason="ok")

class Nonsense:
    def decide(self, seen): return Decision(option=999, reason="out")

class NotANumber:
    def decide(self, seen): return Decision(option=0, reason="nan", wait_s=float("nan"))

class Nothing:
    def decide(self, seen): return None

class BatchToo(Raises):
    def decide_batch(self, seen): return [Decision(option=0, reason="all") for _ in seen]

class BatchAlso(Raises):
    def decide_batch(self, seen): raise RuntimeError("both ways")

class NoSecondThoughts:
    def decide(self, seen): return Decision(option=0, reason="ok")
    def reconsider(self, seen, flight): raise RuntimeError("second thoughts")
"""


@pytest.mark.parametrize(
    ("name", "failures"),
    [
        ("Raises", 30),
        ("RaisesLater", 26),
        ("Nonsense", 30),
        ("NotANumber", 30),
        ("Nothing", 30),
        ("BatchToo", 2),
        ("BatchAlso", 30),
        ("NoSecondThoughts", None),
    ],
)
@pytest.mark.parametrize("command", [simulate_command, compare])
def test_a_controller_that_fails_is_counted_in_table_json_and_exit_code(movie, tmp_path, command, name, failures):
    """Fifteen segments on each of two traces; what failed is not scored as if it had worked."""
    file = tmp_path / "mine.py"
    file.write_text(FAILING)
    mine, traces = f"{file}:{name}", str(movie.parent / "traces")
    args = {
        simulate_command: [str(movie), "--trace", traces, "--controller", mine],
        compare: [str(movie), "--traces", traces, "--controllers", "bola", "--controller", mine],
    }[command]
    result = CliRunner().invoke(command, [*args, "--json"])
    means = json.loads(result.stdout)["means"]
    counted = int(means[mine]["failures"])
    assert counted == failures if failures else counted > 2
    assert [means[other]["failures"] for other in means if other != mine] == ([0] if command is compare else [])
    assert sum(row["failures"] for row in json.loads(result.stdout)["sessions"]) == counted
    assert isinstance(result.exception, ToprungError) and result.exception.exit_code == 1
    assert f"{name} failed {counted} times in 30 decisions; first: the controller failed (" in str(result.exception)
    table = CliRunner().invoke(command, args).stdout
    assert "failed" in table and [line.split()[-2] for line in table.splitlines() if name in line] == [str(counted)]


def test_what_is_no_trace_and_odd_units_get_a_word_on_stderr(movie):
    folder = movie.parent / "traces"
    (folder / "LICENSE").write_text("MIT License\n")
    (folder / "wrong.txt").write_text("0 1500\n1000 1600\n2000 900\n")
    for command, option in ((simulate_command, "--trace"), (compare, "--traces")):
        result = CliRunner().invoke(command, [str(movie), option, str(folder), "--json"], catch_exceptions=False)
        assert result.exit_code == 0
        assert {row["trace"] for row in json.loads(result.stdout)["sessions"]} == {"a", "b", "wrong"}
        assert "LICENSE is passed over" in result.stderr and "steps of 1000 s at 1250 Mbit/s" in result.stderr


@pytest.fixture
def lifted_title(tmp_path):
    """The prepared clip with an enhancer that lifts its 180p by 30 points."""
    title, _ = prepared_title()
    plain = title.plain_quality["180p"]
    quality = msgspec.structs.replace(plain, vmaf=tuple(vmaf + 30 for vmaf in plain.vmaf))
    offer = Offer(
        rendition="180p",
        architecture="plain-m4c16x4",
        weights_sha256="0" * 64,
        chunks=(),
        macs_per_output_px=1.0,
        quality=quality,
    )
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=(offer,))
    folder = tmp_path / "lifted"
    folder.mkdir()
    (folder / "title.json").write_bytes(msgspec.json.encode(title))
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=(entry,))
    (folder / "enhancements.json").write_bytes(msgspec.json.encode(table))
    (tmp_path / "slow.txt").write_text("0 0.2\n9 0.2\n")
    return folder


def profile_of(name):
    speed = Measurement(
        architecture="plain-m4c16x4", width_px=320, height_px=180, backend="any", threads=1, p50_ms=7.0, p95_ms=8.0
    )
    device = Device(name=name, processor="any", cores=2, memory_bytes=1 << 30)
    return msgspec.json.encode(DeviceProfile(device=device, measurements=(speed,)))


@pytest.mark.parametrize("command", [simulate_command, compare])
def test_enhancers_are_priced_for_the_device_that_was_measured(lifted_title, tmp_path, monkeypatch, command):
    cache = tmp_path / "cache" / "toprung"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    option = "--trace" if command is simulate_command else "--traces"

    def run_with(*more):
        args = [str(lifted_title), option, str(tmp_path / "slow.txt"), "--json", *map(str, more)]
        result = CliRunner().invoke(command, args, catch_exceptions=False)
        report = json.loads(result.stdout)
        return report["profile"], report["means"]["toprung"]["enhanced_share"], result.stderr

    profile, share, said = run_with()
    assert (profile, share) == (None, 0) and "toprung profile" in said
    cache.mkdir(parents=True)
    (cache / "device-old.json").write_bytes(profile_of("my laptop"))
    profile, share, said = run_with()
    assert profile == str(cache / "device-old.json") and share > 0
    assert "my laptop" in said and profile in said
    (cache / "device-new.json").write_text("{")
    os.utime(cache / "device-old.json", (0, 0))
    profile, share, said = run_with()
    assert profile == str(cache / "device-old.json") and share > 0 and "passed over" in said
    (cache / "device-new.json").write_bytes(profile_of("its successor"))
    assert "its successor" in run_with()[2]
    assert run_with("--plain") == (None, 0, "")
    (tmp_path / "given.json").write_bytes(profile_of("another"))
    assert run_with("--profile", tmp_path / "given.json")[::2] == (str(tmp_path / "given.json"), "")


def test_going_frame_by_frame_needs_no_head_start():
    """Faster than the film, an enhancer may begin with the segment's first frame; a whole segment had to wait."""
    whole = flat_prices()
    frames = replace(whole, lead_s=np.zeros_like(whole.compute_s))
    trace = constant(1e6)
    shown = {
        name: [step.shown for step in simulate(prices, trace, Scripted(0, 1, 1, 1)).steps]
        for name, prices in (("whole", whole), ("frames", frames))
    }
    assert shown["frames"] == [0, 1, 1, 1]
    assert shown["whole"] != shown["frames"]


def test_toprung_starts_with_a_light_enhancer_only_where_it_can_begin_at_once():
    whole = make_prices(6, weights=True)
    frames = replace(whole, lead_s=np.zeros_like(whole.compute_s))
    heavy = replace(frames, weights=((), ("hi",), ("hi",), (), (), (), ()))
    first = {
        name: simulate(prices, constant(1e6), make_controller("toprung"), start_lowest=False).steps[0].decision.option
        for name, prices in (("whole", whole), ("frames", frames), ("heavy", heavy))
    }
    assert {name: whole.choices[option].enhancer for name, option in first.items()} == {
        "whole": "none",  # a whole segment must be enhanced before it starts: too late for the first one
        "frames": "low",
        "heavy": "none",  # 150 kB of weights beside a segment of 100 kB would delay the start too long
    }


class GivesUp:
    """Decides for the top rung; once a download has lasted `after_s`, would rather have the lowest."""

    def __init__(self, after_s, instead=0):
        self.after_s, self.instead, self.flights = after_s, instead, []

    def decide(self, seen):
        return Decision(option=6, reason="top")

    def reconsider(self, seen, flight):
        self.flights.append((seen.buffer_s, flight))
        return self.instead if flight.option == 6 and flight.elapsed_s > self.after_s else None


def test_a_slow_download_is_given_up_when_the_controller_thinks_better_of_it():
    trace = make("drop", [(6.0, 8e6, 0.1), (200.0, 2e5, 0.1)])
    patient, hasty = (simulate(make_prices(8), trace, GivesUp(after_s)) for after_s in (1e9, 1.0))
    assert [step.fetched for step in patient.steps] == [6] * 8
    given_up = [step for step in hasty.steps if step.fetched == 0]
    assert given_up and all(step.decision.option == 6 and step.shown == 0 for step in given_up)
    for step in given_up:
        lowest = make_prices(8).size_bytes[step.observation.menu.segment, 0]
        assert step.download.size_bytes > lowest and step.download.duration_s > 1.1
    assert hasty.stall_s < patient.stall_s - 30
    total_s = sum(step.download.duration_s for step in hasty.steps)
    assert hasty.startup_s + hasty.stall_s <= total_s + 1e-9


def test_a_watchful_controller_sees_the_download_grow_and_the_buffer_drain():
    controller = GivesUp(1e9)
    simulate(make_prices(4), constant(1e6, 0.1), controller)
    flights = [flight for _, flight in controller.flights]
    assert {flight.size_bytes for flight in flights} <= set(make_prices(4).size_bytes[:, 6].astype(int).tolist())
    one = [(buffer_s, flight) for buffer_s, flight in controller.flights if flight.size_bytes == flights[-1].size_bytes]
    assert np.diff([flight.elapsed_s for _, flight in one]) == pytest.approx(0.05)
    assert np.diff([flight.done_bytes for _, flight in one]) == pytest.approx(0.05 * 1e6 / 8)
    assert (np.diff([buffer_s for buffer_s, _ in one]) <= 0).all()


@pytest.mark.parametrize("instead", [99, -1, 1.5, "x"])
def test_nonsense_while_a_download_is_under_way_lets_it_go_on(instead, caplog):
    session = simulate(make_prices(3), constant(2e6), GivesUp(0.0, instead))
    assert [step.fetched for step in session.steps] == [6] * 3 and "so the download goes on" in caplog.text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"quality": np.full((30, 7), np.nan)}, "Segment 0 of a price list has no option"),
        ({"size_bytes": np.full((30, 7), -5.0)}, "Segment 0 of a price list has no option"),
        ({"vmaf": np.ones((29, 7))}, "30 segments and 7 options has vmaf of"),
        ({"duration_s": np.zeros(30)}, "longer than no time"),
        ({"duration_s": np.full(30, np.inf)}, "longer than no time"),
    ],
)
def test_a_list_that_cannot_be_played_is_refused_in_one_sentence(change, says):
    with pytest.raises(FormatError, match=says) as caught:
        simulate(replace(PRICES, **change), TRACE, make_controller("toprung"))
    assert "\n" not in str(caught.value)

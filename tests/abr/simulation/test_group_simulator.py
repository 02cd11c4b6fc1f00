"""Several viewers on one link: the link's bytes are divided, never made or lost, and one viewer is the simulator's."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st

from abr.controllers import make_controller
from abr.core.control import Decision, Observation
from abr.evaluation.bench_group import FIGURES, bench_group, jain, measure
from abr.simulation.benchmark_data import classic_prices
from abr.simulation.group_simulator import Alone, PacedDecision, Viewer, simulate_group
from abr.simulation.shared_link import SharedLink, divide_fairly
from abr.simulation.simulator import simulate
from abr.simulation.traces import Trace, constant, make

spans = st.tuples(st.floats(0.1, 20.0), st.one_of(st.just(0.0), st.floats(1e5, 5e7)), st.sampled_from([0.0, 0.02, 0.3]))
networks = (
    st.lists(spans, min_size=1, max_size=8)
    .filter(lambda found: any(rate > 0 for _, rate, _ in found))
    .map(lambda found: make("drawn", found))
)

"""Any network; and, as `steady`, with one latency: to which of two spans an instant on their border belongs, rounding
decides."""
steady = st.builds(
    lambda network, latency_s: make("drawn", [(d, bps, latency_s) for d, bps, _ in network]),
    st.lists(spans, min_size=1, max_size=8).filter(lambda found: any(rate > 0 for _, rate, _ in found)),
    st.sampled_from([0.0, 0.02, 0.3]),
)


@given(st.floats(0, 1e9), st.lists(st.floats(0, 1e9) | st.just(math.inf), min_size=1, max_size=12))
def test_a_capacity_is_divided_fairly(capacity: float, limits: list[float]) -> None:
    parts = divide_fairly(capacity, limits)
    assert all(part <= limit for part, limit in zip(parts, limits, strict=True))
    assert sum(parts) == pytest.approx(min(capacity, sum(limits)))
    most = max(parts)
    assert all(part == pytest.approx(min(limit, most)) for part, limit in zip(parts, limits, strict=True))


def ends_on_a_border(network: Trace, ends_s: list[float]) -> bool:
    """Whether a download ends where one span does: whether its last byte waits for an outage, rounding decides."""
    borders_s = np.append(0.0, np.cumsum(network.duration_s))
    within_s = np.mod(ends_s, borders_s[-1])
    return bool((np.abs(within_s[:, None] - borders_s) < 1e-6).any())


@given(steady, st.sampled_from(["dynamic", "bola", "throughput"]), st.floats(0, 100))
def test_one_viewer_has_the_session_of_the_simulator(network: Trace, name: str, start_s: float) -> None:
    prices, controller = classic_prices(segments=12), make_controller(name)
    alone = simulate(prices, network.begun_at(start_s), controller)
    downloads = [step.download for step in alone.steps]
    assume(not ends_on_a_border(network, [start_s + each.started_s + each.duration_s for each in downloads]))
    [session] = simulate_group([Viewer(prices=prices, start_s=start_s)], network, Alone(controller))
    assert [step.fetched for step in session.steps] == [step.fetched for step in alone.steps]
    assert session.stall_s == pytest.approx(alone.stall_s, abs=1e-4)
    assert session.startup_s == pytest.approx(alone.startup_s, abs=1e-4)


@given(networks, st.lists(st.floats(0, 60), min_size=2, max_size=6))
def test_viewers_get_the_bytes_that_the_link_lets_through(network: Trace, starts_s: list[float]) -> None:
    prices, controller = classic_prices(segments=8), make_controller("throughput")
    viewers = [Viewer(prices=prices, start_s=start_s) for start_s in starts_s]
    sessions = simulate_group(viewers, network, Alone(controller))
    flows = [
        (viewer.start_s + step.download.started_s + step.download.latency_s, step.download)
        for viewer, session in zip(viewers, sessions, strict=True)
        for step in session.steps
    ]
    spans_s = [(begun_s, begun_s + download.duration_s - download.latency_s) for begun_s, download in flows]
    edges = np.unique(np.array(spans_s).ravel())
    busy = [(a, b) for a, b in pairwise(edges) if any(s <= a and b <= e for s, e in spans_s)]
    let_through = sum(network.bytes_between(a, b) for a, b in busy)
    assert sum(download.size_bytes for _, download in flows) == pytest.approx(let_through, rel=1e-6, abs=2.0)


def test_twins_on_one_link_get_half_of_it_each() -> None:
    prices, controller = classic_prices(segments=20), make_controller("throughput")
    pair = simulate_group([Viewer(prices=prices)] * 2, constant(4e6, 0.1), Alone(controller))
    half = simulate(prices, constant(2e6, 0.1), controller)
    for session in pair:
        assert [step.fetched for step in session.steps] == [step.fetched for step in half.steps]


@dataclass(slots=True)
class _Paced:
    """Viewer 0 is sent to no faster than `pace_bps`. now_s: on the clock of all, at each decision."""

    pace_bps: float
    now_s: list[float] = field(default_factory=list)

    def decide(self, viewer: int, observation: Observation, now_s: float) -> PacedDecision:
        self.now_s.append(now_s)
        decision = make_controller("fixed").decide(observation)
        return PacedDecision(decision, self.pace_bps if viewer == 0 else math.inf)


def test_a_paced_viewer_leaves_the_rest_of_the_link_to_the_other() -> None:
    prices, decider = classic_prices(segments=6), _Paced(1e6)
    slow, fast = simulate_group([Viewer(prices=prices)] * 2, constant(5e6), decider)
    for step in slow.steps:
        assert step.download.size_bytes * 8 / step.download.duration_s == pytest.approx(1e6)
    for step in fast.steps:
        assert step.download.size_bytes * 8 / step.download.duration_s == pytest.approx(4e6)
    assert decider.now_s == sorted(decider.now_s)


def test_a_link_of_any_speed_ends_its_flows() -> None:
    link = SharedLink(constant(1e12))
    link.advance(1e5)
    flow = link.start(12_345.0)
    assert link.advance(link.next_change_s()) == [flow]


def test_bench_group_compares_who_decides_over_one_link(tmp_path: Path) -> None:
    movie = {
        "segment_duration_ms": 4000,
        "bitrates_kbps": [300, 900],
        "segment_sizes_bits": [[1_200_000, 3_600_000]] * 3,
    }
    (tmp_path / "movie.json").write_text(json.dumps(movie))
    (tmp_path / "link.txt").write_text("0 2.0\n5 1.0\n10 2.0\n")
    args = [str(tmp_path / "movie.json"), "--trace", str(tmp_path / "link.txt")]
    args += ["--viewers", "3", "--seconds", "30", "--seeds", "2"]
    result = CliRunner().invoke(bench_group, [*args, "--json"], catch_exceptions=False)
    [rows] = json.loads(result.stdout).values()
    assert list(rows) == ["toprung, together", "toprung, alone", "dash.js's Dynamic"]
    for figures in rows.values():
        assert 20 <= figures["VMAF"]["mean"] <= 100
        assert 1 / 3 <= figures["Jain, seconds"]["mean"] <= 1
    assert "together" in CliRunner().invoke(bench_group, args).stdout
    assert CliRunner().invoke(bench_group, args[1:]).exit_code == 2


def test_fairness_is_told_each_second_and_over_sessions() -> None:
    prices = classic_prices(segments=2)
    viewers = [Viewer(prices=prices)] * 2
    sessions = simulate_group(viewers, constant(1e9), _Rungs([0, 5]))
    assert measure(viewers, sessions)[FIGURES.index("Jain, sessions")] == pytest.approx(
        jain(prices.vmaf[0, [0, 5]]), rel=1e-6
    )
    assert measure(viewers, sessions)[FIGURES.index("Jain, seconds")] == pytest.approx(
        jain(prices.vmaf[0, [0, 5]]), rel=1e-6
    )
    assert jain(np.array([1.0, 0.0, 0.0, 0.0])) == 0.25 and jain(np.zeros(3)) == 1.0


@dataclass(frozen=True, slots=True)
class _Rungs:
    """Each viewer always gets its rung."""

    rungs: list[int]

    def decide(self, viewer: int, observation: Observation, now_s: float) -> PacedDecision:
        return PacedDecision(Decision(option=self.rungs[viewer], reason="its rung"))

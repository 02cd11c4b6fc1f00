"""Viewers behind one bottleneck: together they know the link that each sees a part of."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from abr.controllers.toprung.bottleneck import MEMBERS_MAX, SILENT_S, Bottleneck, expecting
from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.forecast import forecast_throughput
from abr.core.control import REASON_MAX, Decision, Download, Observation
from abr.evaluation.bench_group import Together
from abr.simulation.benchmark_data import classic_prices
from abr.simulation.group_simulator import Viewer, simulate_group
from abr.simulation.traces import constant

PRICES = classic_prices(segments=30)


def observe(downloads: tuple[Download, ...] = (), buffer_s: float = 10.0, segment: int = 2) -> Observation:
    menu = PRICES.menu(segment, 8)
    return Observation(now_s=8.0, menu=menu, buffer_s=buffer_s, buffer_max_s=60.0, downloads=downloads)


@pytest.mark.parametrize("viewers", [1, 2, 6])
def test_together_they_learn_the_capacity_of_the_link(viewers: int) -> None:
    bottleneck = Bottleneck(Toprung())
    those = [Viewer(prices=PRICES, start_s=1.7 * i, latency_s=0.02) for i in range(viewers)]
    simulate_group(those, constant(viewers * 1e6), Together(bottleneck))
    assert bottleneck.capacity_bps == pytest.approx(viewers * 1e6, rel=0.2)


def test_the_reason_tells_the_share_once_the_link_is_known() -> None:
    bottleneck = Bottleneck(Toprung())
    assert "share" not in bottleneck.decide("a", observe(), 0.0).reason
    bottleneck.decide("b", observe(), 0.0)
    download = Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000)
    assert bottleneck.decide("a", observe((download,)), 8.0).reason.endswith("are its share among 2 on the link")


def test_who_went_leaves_its_share_and_no_group_grows_without_end() -> None:
    bottleneck = Bottleneck(Toprung())
    for viewer in range(3 * MEMBERS_MAX):
        bottleneck.decide(viewer, observe(), 0.0)
    download = Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000)
    assert f"among {MEMBERS_MAX} on" in bottleneck.decide("a", observe((download,)), 8.0).reason
    assert "among 1 on" in bottleneck.decide("a", observe((download,)), 9.0 + SILENT_S).reason


def test_who_ended_leaves_its_share_at_once() -> None:
    bottleneck = Bottleneck(Toprung())
    for viewer in "abc":
        bottleneck.decide(viewer, observe(), 0.0)
    bottleneck.leave("b")
    bottleneck.leave("nobody")
    download = Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000)
    assert "among 2 on" in bottleneck.decide("a", observe((download,)), 8.0).reason


def test_who_downloads_its_last_segment_leaves_its_share_to_the_others() -> None:
    bottleneck = Bottleneck(Toprung())
    for viewer in "abc":
        bottleneck.decide(viewer, observe(), 0.0)
    download = Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000)
    bottleneck.decide("b", observe((download,), segment=len(PRICES.duration_s) - 1), 8.0)
    assert "among 2 on" in bottleneck.decide("a", observe((download,)), 8.0).reason
    bottleneck.decide("b", observe((download,)), 9.0)  # it went back
    assert "among 3 on" in bottleneck.decide("a", observe((download,)), 9.0).reason


def test_equal_viewers_expect_equal_parts_however_the_fair_division_falls() -> None:
    bottleneck, shares_kbps = Bottleneck(Toprung()), []
    for viewer in range(12):
        bottleneck.decide(viewer, observe(), 0.0)
    download = Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000)
    bottleneck.capacity_bps = 6e6
    for viewer in range(12):
        turn = bottleneck.take_turn(viewer, observe((download,)), 8.0)
        shares_kbps.append(float(turn.told.split()[1]))
    assert max(shares_kbps) < 2 * min(shares_kbps)


def test_a_download_tells_of_the_link_once_however_often_it_is_told() -> None:
    bottleneck = Bottleneck(Toprung())
    for size_bytes in (1_000_000, 4_000_000):
        download = Download(started_s=size_bytes / 1e6, duration_s=8.0, latency_s=0.0, size_bytes=size_bytes)
        bottleneck.decide("a", observe((download,)), 8.0)
    once_bps = bottleneck.capacity_bps
    bottleneck.decide("a", observe((download,)), 8.1)
    assert bottleneck.capacity_bps == once_bps


def test_the_share_is_told_whole_after_a_reason_as_long_as_may_be() -> None:
    bottleneck = Bottleneck(Toprung())
    download = Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000)
    turn = bottleneck.take_turn("a", observe((download,)), 8.0)
    reason = turn.conclude(Decision(option=0, reason="x" * REASON_MAX)).reason
    assert len(reason) == REASON_MAX and reason.endswith("are its share among 1 on the link")


@pytest.mark.parametrize("size_bytes", [0, 10**15])
@pytest.mark.parametrize("started_s", [0.0, 1e12])
@pytest.mark.parametrize("now_s", [0.0, 1e12])
def test_whatever_a_viewer_makes_up_all_are_decided_for(size_bytes: int, started_s: float, now_s: float) -> None:
    bottleneck = Bottleneck(Toprung())
    made_up = Download(started_s=started_s, duration_s=0.0, latency_s=1e6, size_bytes=size_bytes)
    honest = Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000)
    for at_s in (1.7e9, 1.7e9 + 1, 1.7e9 - 100):
        strange = replace(observe((replace(made_up, size_bytes=size_bytes + int(at_s % 7)),)), now_s=now_s)
        assert "failed" not in bottleneck.decide("liar", strange, at_s).reason
        assert "failed" not in bottleneck.decide("a", observe((honest,)), at_s).reason


def test_a_short_buffer_goes_by_the_share_and_a_full_one_by_its_own_downloads() -> None:
    downloads = (Download(started_s=0.0, duration_s=2.0, latency_s=0.0, size_bytes=1_000_000),)
    own = forecast_throughput(downloads)
    short = forecast_throughput(downloads, expecting(observe(downloads, 5.0), 5e5).memory)
    full = forecast_throughput(downloads, expecting(observe(downloads, 60.0), 5e5).memory)
    assert short.level == short.mean == pytest.approx(13.122, abs=1e-3)  # ln 500,000
    assert (full.level, full.mean) == pytest.approx((own.level, own.mean))

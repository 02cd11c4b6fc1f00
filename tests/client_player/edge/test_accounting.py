"""What lifting takes and saves, and a node that stops when that does not pay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from edge_nodes import StockViewer, edge
from film import small_film_library
from hypothesis import given
from hypothesis import strategies as st
from served import serving
from viewers import FAST_MACHINE

from abr.core.device import EnergySource, PowerModel
from abr.core.options import Choice, PriceList
from abr.virtual_time import SessionClock, run_virtual
from client_player.edge.accounting import balance
from client_player.edge.accounting.balance import KNOWN_MIN, REST_S, WINDOW, Balance, LiftCost, Loss
from client_player.edge.accounting.lift_energy import LiftEnergy, model_meter
from client_player.edge.accounting.saved_bytes import bytes_of_equal_quality
from enhancers.profiling.energy import RaplMeter, WatchedMeter
from enhancers.profiling.machine import cores


def ladder(*rungs: tuple[float, float]) -> PriceList:
    """(bytes, points) of each rendition of a title of one segment, the first of them lifted too."""
    sizes, points = zip(*rungs, strict=True)
    choices = (Choice(rendition=0), Choice(rendition=0, enhancer="low"))
    choices += tuple(Choice(rendition=number) for number in range(1, len(rungs)))
    table = np.array([[points[0], points[0] + 9.0, *points[1:]]])
    nothing = np.zeros_like(table)
    return PriceList(
        rendition_ids=tuple(str(number) for number in range(len(rungs))),
        choices=choices,
        duration_s=np.array([2.0]),
        size_bytes=np.array([[sizes[0], *sizes]]),
        compute_s=nothing,
        lead_s=nothing,
        quality=table,
        vmaf=table,
        weights=((),) * len(choices),
        weights_bytes={},
    )


def test_equal_quality_is_found_between_the_rungs_and_not_beyond_them() -> None:
    prices = ladder((100.0, 40.0), (200.0, 60.0), (800.0, 90.0))
    assert bytes_of_equal_quality(prices, 0, 60.0) == 200.0
    assert bytes_of_equal_quality(prices, 0, 50.0) == 150.0
    assert bytes_of_equal_quality(prices, 0, 75.0) == 500.0
    assert bytes_of_equal_quality(prices, 0, 99.0) == 800.0, "nobody knows what it would take: at least the top rung"
    assert bytes_of_equal_quality(prices, 0, 10.0) == 100.0


def test_a_rung_that_costs_more_for_less_tells_nothing() -> None:
    prices = ladder((100.0, 40.0), (500.0, 45.0), (400.0, 80.0))
    assert bytes_of_equal_quality(prices, 0, 60.0) == 250.0


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 100)), min_size=1, max_size=6, unique_by=lambda pair: pair[1]),
    st.floats(-10, 120),
)
def test_more_quality_never_takes_fewer_bytes(rungs: list[tuple[float, float]], quality: float) -> None:
    prices = ladder(*rungs)
    less, more = (bytes_of_equal_quality(prices, 0, each) for each in (quality, quality + 1))
    assert min(size for size, _ in rungs) <= less <= more <= max(size for size, _ in rungs)


def cost(*, energy_j: float = 10.0, saved_bytes: float = 1e5) -> LiftCost:
    return LiftCost(media_s=2.0, cpu_s=1.0, energy_j=energy_j, saved_bytes=saved_bytes)


def entered(books: Balance, costs: LiftCost, *, in_time: bool = True, count: int = KNOWN_MIN) -> Balance:
    for _ in range(count):
        books.lifted(costs)
        books.closed(in_time=in_time)
    return books


def test_lifting_pays_until_it_is_known_not_to() -> None:
    assert Balance(1.0).loss(0.0) is None
    assert entered(Balance(1.0), cost()).loss(0.0) is None
    assert entered(Balance(1.0), cost(saved_bytes=-1.0), count=KNOWN_MIN - 1).loss(0.0) is None


@pytest.mark.parametrize(
    ("costs", "in_time", "loss"),
    [
        (cost(), False, Loss.BEHIND),
        (cost(saved_bytes=0.0), True, Loss.GAIN),
        (cost(energy_j=400.0), True, Loss.ENERGY),  # 1.1 kWh a gigabyte
        (cost(energy_j=350.0), True, None),
    ],
)
def test_why_it_does_not_pay(costs: LiftCost, in_time: bool, loss: Loss | None) -> None:
    assert entered(Balance(1.0), costs, in_time=in_time).loss(0.0) is loss


def test_it_rests_a_minute_and_is_tried_again_with_nothing_held_against_it() -> None:
    books = entered(Balance(1.0), cost(), in_time=False)
    assert books.loss(10.0) is books.loss(10.0 + REST_S - 0.1) is Loss.BEHIND
    entered(books, cost(), in_time=False, count=WINDOW)  # what was under way
    assert books.loss(10.0 + REST_S) is None
    assert entered(books, cost(), in_time=False).loss(200.0) is Loss.BEHIND


def timed_clock(*instants: float) -> SessionClock:
    """A clock that shows these, one after the other."""
    left = iter(instants)

    class Clock(SessionClock):
        def __init__(self) -> None:
            pass

        def now_s(self) -> float:
            return next(left)

    return Clock()


def test_energy_without_a_counter_is_that_of_the_processor_time_however_lifts_overlap() -> None:
    watched = model_meter(PowerModel(idle_w=10.0, full_w=10.0 + 4.0 * cores()))
    energy = LiftEnergy(watched, timed_clock(0.0, 1.0, 2.0, 3.0, 3.5))
    assert energy.source is EnergySource.MODEL
    energy.begin()
    energy.begin()
    assert energy.end(2.0) + energy.end(1.5) == pytest.approx(4.0 * 3.5)


def test_energy_by_a_counter_is_what_the_machine_took_above_rest_while_something_was_lifted(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")

    def used(joules: float) -> None:
        (zone / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")

    used(100)
    energy = LiftEnergy(WatchedMeter(meter=RaplMeter(tmp_path), idle_w=5.0), timed_clock(0, 10, 12, 13, 20, 21))
    used(150)  # at rest: nobody's
    energy.begin()
    used(180)
    energy.begin()
    used(200)
    assert energy.end(1.0) == pytest.approx(100 - 50 - 5 * 3)
    used(240)
    assert energy.end(1.0) == pytest.approx(40 - 5 * 7)
    (zone / "energy_uj").unlink()
    energy.begin()
    assert energy.source is EnergySource.MODEL, "a counter that is gone is no reason to stop"


def test_a_node_whose_lifts_do_not_pay_says_so_and_serves_titles_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(balance, "KNOWN_MIN", 1)
    library = small_film_library(tmp_path)

    async def main() -> None:
        async with serving(str(library)) as origin, edge(origin, tmp_path / "kept", kwh_per_gb_max=0.0) as node:
            await StockViewer(node, "film").play()
            lifts = len(node.lifters.jobs)
            assert lifts in (1, 2), "the second may have been ordered before the first was known not to pay"
            again = await StockViewer(node, "film").play()
            assert again.enhancers[0] == "none" and len(node.lifters.jobs) == lifts, "else it is lifted for the next"
            assert await node.metric("toprung_edge_lifting_pays") == 0
            assert await node.metric('toprung_edge_lifting_pauses_total{reason="energy"}') == 1
            assert await node.metric('toprung_edge_lift_energy_joules_total{source="model"}') > 0
            assert await node.metric("toprung_edge_saved_bytes_total") > 0
            await asyncio.sleep(REST_S)
            assert await node.metric("toprung_edge_lifting_pays") == 1

    run_virtual(main(), wall_rate=FAST_MACHINE)
    assert "more energy than the bytes that they saved are worth" in caplog.text

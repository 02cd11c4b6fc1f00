"""Joules: which source is taken, what its files say, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from abr.core.device import EnergySource, PowerModel
from enhancers.profiling.energy import BatteryMeter, ModelMeter, RaplMeter, Work, find_meter

POWER = PowerModel(idle_w=2.0, full_w=10.0)
ZONES = {
    "intel-rapl:0": ("package-0", 262143328850, 25_973_310_172),
    "intel-rapl:0:0": ("core", 262143328850, 13_035_841_239),
    "intel-rapl:0:1": ("uncore", 262143328850, 401_842_041),
    "intel-rapl:0:2": ("dram", 65712999613, 5_112_903_380),
    "intel-rapl:1": ("psys", 262143328850, 91_345_061_523),
}
"""Name, range and counter of each zone of a laptop, as the kernel lays them out."""


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    folder = tmp_path / "powercap"
    for zone, (name, range_uj, energy_uj) in ZONES.items():
        (folder / zone).mkdir(parents=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (folder / zone / "energy_uj").write_text(f"{energy_uj}\n")
        (folder / zone / "enabled").write_text("1\n")
    (folder / "intel-rapl").mkdir()
    return folder


def add(powercap: Path, **joules: float) -> None:
    for zone, (name, range_uj, _) in ZONES.items():
        counter = powercap / zone / "energy_uj"
        spent_uj = round(1e6 * joules.get(name.replace("-", "_"), 0.0))
        counter.write_text(f"{(int(counter.read_text()) + spent_uj) % range_uj}\n")


def test_rapl_counts_packages_and_memory_and_nothing_twice(powercap: Path) -> None:
    meter = RaplMeter(powercap)
    before = meter.read()
    add(powercap, package_0=3.5, core=2.0, uncore=0.5, dram=0.25, psys=6.0)
    assert meter.joules(before, meter.read(), Work(wall_s=1, cpu_s=1)) == pytest.approx(3.75)


def test_a_counter_that_begins_anew_is_followed(powercap: Path) -> None:
    meter = RaplMeter(powercap)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("262143000000\n")
    before = meter.read()
    add(powercap, package_0=2.0)
    assert float((powercap / "intel-rapl:0" / "energy_uj").read_text()) < 1e7
    assert meter.joules(before, meter.read(), Work(wall_s=1, cpu_s=1)) == pytest.approx(2.0)


def test_work_costs_what_it_takes_above_the_idle_machine(powercap: Path) -> None:
    found = find_meter(POWER, powercap=powercap, sleep=lambda seconds: add(powercap, package_0=4.0 * seconds))
    assert (found.meter.source, found.idle_w) == (EnergySource.RAPL, pytest.approx(4.0))
    before = found.meter.read()
    add(powercap, package_0=9.0)
    assert found.above_idle_j(before, found.meter.read(), Work(wall_s=1.5, cpu_s=1)) == pytest.approx(3.0)
    assert found.above_idle_j(before, before, Work(wall_s=1.5, cpu_s=1)) == 0.0, "never less than nothing"


def still(_seconds: float) -> None: ...


def without_counters(powercap: Path) -> None:
    for counter in powercap.glob("*/energy_uj"):
        counter.unlink()


def with_nonsense(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").write_text("busy\n")


@pytest.mark.parametrize("spoil", [lambda _: None, without_counters, with_nonsense])
def test_counters_that_stand_still_or_cannot_be_read_are_no_source(
    powercap: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(powercap)
    found = find_meter(POWER, powercap=powercap, supplies=tmp_path / "none", sleep=still)
    assert (found.meter.source, found.idle_w) == (EnergySource.MODEL, 2.0)


@pytest.fixture
def supplies(tmp_path: Path) -> Path:
    folder = tmp_path / "power_supply"
    for battery, files in {
        "BAT0": {"status": "Discharging", "power_now": "8200000"},
        "BAT1": {"status": "Discharging", "current_now": "-500000", "voltage_now": "12000000"},
        "AC": {"online": "0"},
    }.items():
        (folder / battery).mkdir(parents=True)
        for name, text in files.items():
            (folder / battery / name).write_text(f"{text}\n")
    return folder


def test_a_battery_tells_watts_by_power_or_by_current_and_voltage(supplies: Path, tmp_path: Path) -> None:
    found = find_meter(POWER, powercap=tmp_path / "none", supplies=supplies, sleep=still)
    assert (found.meter.source, found.idle_w) == (EnergySource.BATTERY, pytest.approx(14.2))
    before = found.meter.read()
    (supplies / "BAT0" / "power_now").write_text("12200000\n")
    spent_j = found.above_idle_j(before, found.meter.read(), Work(wall_s=2, cpu_s=1))
    assert spent_j == pytest.approx(4.0), "the mean of both ends, less the idle device"


def test_a_battery_that_charges_tells_nothing_of_the_device(supplies: Path) -> None:
    for battery in ("BAT0", "BAT1"):
        (supplies / battery / "status").write_text("Charging\n")
    with pytest.raises(OSError, match="discharging"):
        BatteryMeter(supplies)


def test_the_model_counts_the_share_of_all_cores_that_worked() -> None:
    meter = ModelMeter(POWER, 4)
    assert meter.joules((), (), Work(wall_s=2, cpu_s=4)) == pytest.approx(2 * (2 + 0.5 * 8))
    assert meter.joules((), (), Work(wall_s=2, cpu_s=80)) == pytest.approx(20), "no more than all of them"
    assert meter.source.is_estimate and not EnergySource.RAPL.is_estimate

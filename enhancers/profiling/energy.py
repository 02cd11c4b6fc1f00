"""Joules that work costs: by the processor's counters, a GPU's, the battery, or else reckoned from the time worked.

Counters are the machine's, so that all that runs on it is in them. What counts as the cost of a piece of work is what
it takes above the idle machine, which is watched for a moment first. RAPL is read as the kernel documents it
(Documentation/power/powercap); most systems let only root read it (CVE-2020-8694).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from abr.core.device import EnergySource, PowerModel
from enhancers.profiling.machine import POWER_SUPPLIES, cores

POWERCAP = Path("/sys/class/powercap")
IDLE_S = 0.5
"""A counter of RAPL moves every millisecond, a GPU's every hundred."""
Reading = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was done between two readings: seconds by the clock, and seconds of processor time of all threads."""

    wall_s: float
    cpu_s: float


class EnergyMeter(Protocol):
    """Reads something that tells how much energy was used."""

    @property
    def source(self) -> EnergySource:
        """What is read."""
        ...

    def read(self) -> Reading:
        """To be compared with a later one. Raises OSError when it can no longer be read."""
        ...

    def joules(self, before: Reading, after: Reading, work: Work) -> float:
        """Used between two readings, by the whole machine as far as the source sees it."""
        ...


class ModelMeter:
    """Reckons: idle + utilisation × (full - idle)."""

    source = EnergySource.MODEL

    def __init__(self, power: PowerModel, count: int | None = None) -> None:
        self._power, self._cores = power, count or cores()

    def read(self) -> Reading:
        """Nothing is read."""
        return ()

    def joules(self, before: Reading, after: Reading, work: Work) -> float:
        """See EnergyMeter."""
        utilisation = min(1.0, work.cpu_s / max(work.wall_s, 1e-9) / self._cores)
        return work.wall_s * (self._power.idle_w + utilisation * (self._power.full_w - self._power.idle_w))


class RaplMeter:
    """Packages and their memory. Raises OSError where there are no counters, or none that this user may read."""

    source = EnergySource.RAPL

    def __init__(self, powercap: Path = POWERCAP) -> None:
        zones = sorted(zone for zone in powercap.glob("intel-rapl:*") if _counts(zone))
        if not zones:
            raise OSError(f"There are no RAPL counters in {powercap}.")
        self._counters = [zone / "energy_uj" for zone in zones]
        self._ranges_uj = [float((zone / "max_energy_range_uj").read_text()) for zone in zones]
        self.read()

    def read(self) -> Reading:
        """Microjoules of each zone."""
        return tuple(_number(counter) for counter in self._counters)

    def joules(self, before: Reading, after: Reading, work: Work) -> float:
        """A counter that went back has begun anew once."""
        spent = (
            late - early if late >= early else late - early + range_uj
            for early, late, range_uj in zip(before, after, self._ranges_uj, strict=True)
        )
        return sum(spent) / 1e6


def _counts(zone: Path) -> bool:
    """Whether the zone's energy is in no other: packages, and memory. Cores and GPU are parts of their package."""
    with suppress(OSError):
        name = (zone / "name").read_text().strip()
        return name.startswith("package-") or name == "dram"
    return False


def _number(path: Path) -> float:
    """Raises OSError for a file that cannot be read, or holds no number."""
    try:
        return float(path.read_text())
    except ValueError as error:
        raise OSError(f"{path} holds no number.") from error


class BatteryMeter:
    """The battery's power, which drivers tell anew every some seconds. Raises OSError when none is discharging."""

    source = EnergySource.BATTERY

    def __init__(self, supplies: Path = POWER_SUPPLIES) -> None:
        found = [each for each in sorted(supplies.glob("BAT*")) if _discharges(each)]
        if not found:
            raise OSError(f"No battery in {supplies} is discharging.")
        self._batteries = found
        self.read()

    def read(self) -> Reading:
        """Watts of each."""
        return tuple(_watts(battery) for battery in self._batteries)

    def joules(self, before: Reading, after: Reading, work: Work) -> float:
        """The mean of the two powers, for the time between."""
        return (sum(before) + sum(after)) / 2 * work.wall_s


def _discharges(battery: Path) -> bool:
    with suppress(OSError):
        return (battery / "status").read_text().strip() == "Discharging"
    return False


def _watts(battery: Path) -> float:
    """Some drivers tell power in microwatts, others current and voltage in micro-units; some with a minus."""
    with suppress(FileNotFoundError):
        return abs(_number(battery / "power_now")) / 1e6
    return abs(_number(battery / "current_now")) * _number(battery / "voltage_now") / 1e12


class NvmlMeter:
    """The first NVIDIA GPU, by NVIDIA's own library. Raises OSError without it, without a GPU, or without a counter."""

    source = EnergySource.NVML

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise OSError("The package nvidia-ml-py is not installed.") from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        except pynvml.NVMLError as error:
            raise OSError(f"No NVIDIA GPU answers: {error}.") from error
        self.read()

    def read(self) -> Reading:
        """Millijoules since the driver was loaded."""
        try:
            return (float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)),)
        except self._nvml.NVMLError as error:
            raise OSError(f"This GPU does not count its energy: {error}.") from error

    def joules(self, before: Reading, after: Reading, work: Work) -> float:
        """See EnergyMeter."""
        return (after[0] - before[0]) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedMeter:
    """A meter, and what the machine takes at rest by it."""

    meter: EnergyMeter
    idle_w: float

    def above_idle_j(self, before: Reading, after: Reading, work: Work) -> float:
        """Joules of the work itself."""
        return max(0.0, self.meter.joules(before, after, work) - self.idle_w * work.wall_s)


def find_meter(
    power: PowerModel,
    *,
    on_gpu: bool = False,
    powercap: Path = POWERCAP,
    supplies: Path = POWER_SUPPLIES,
    sleep: Callable[[float], None] = time.sleep,
) -> WatchedMeter:
    """The best source that this machine has, watched at rest for a moment; the model where there is no other.

    RAPL, then the battery; on_gpu: the GPU's counter goes before both. A counter that stands still (virtual machines
    have such) is no source.
    """
    openers: list[Callable[[], EnergyMeter]] = [lambda: RaplMeter(powercap), lambda: BatteryMeter(supplies)]
    for meter in _opened([NvmlMeter, *openers] if on_gpu else openers):
        with suppress(OSError):
            if (idle_w := _idle_w(meter, sleep)) > 0:
                return WatchedMeter(meter=meter, idle_w=idle_w)
    return WatchedMeter(meter=ModelMeter(power), idle_w=power.idle_w)


def _opened(openers: Sequence[Callable[[], EnergyMeter]]) -> Iterator[EnergyMeter]:
    for opener in openers:
        with suppress(OSError):
            yield opener()


def _idle_w(meter: EnergyMeter, sleep: Callable[[float], None]) -> float:
    before = meter.read()
    sleep(IDLE_S)
    return meter.joules(before, meter.read(), Work(wall_s=IDLE_S, cpu_s=0.0)) / IDLE_S

"""The machine itself: its processor, cores, memory and what it runs on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from abr.core.device import Device, Wish

POWER_SUPPLIES = Path("/sys/class/power_supply")
PROCESSOR_TIMES = Path("/proc/stat")
_LOOK_S = 0.3
_LOW_PERCENT = 30.0


def this_device() -> Device:
    """Name, processor, cores, memory and power source of this machine."""
    return Device(
        name=platform.node() or "this device",
        processor=processor_name(),
        cores=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        power=power_source(),
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def thread_counts() -> tuple[int, ...]:
    """One thread, half as many as there are cores to use, and all of them."""
    return tuple(sorted({1, max(1, cores() // 2), cores()}))


def busy_cores(times: Path = PROCESSOR_TIMES, sleep: Callable[[float], None] = time.sleep) -> float:
    """How many cores other programs keep busy, as seen for a moment in which this one rests; 0 where none can tell."""
    before = _busy_and_all(times)
    sleep(_LOOK_S)
    after = _busy_and_all(times)
    if before is None or after is None or after[1] <= before[1]:
        return 0.0
    return max(0.0, after[0] - before[0]) / (after[1] - before[1]) * (os.cpu_count() or 1)


def _busy_and_all(times: Path) -> tuple[int, int] | None:
    """Ticks of all cores since the machine started: at work, and in all (proc(5): user nice system idle iowait …)."""
    try:
        ticks = [int(each) for each in times.read_text().partition("\n")[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    except (OSError, ValueError, IndexError):
        return None


def processor_name() -> str:
    """The processor's name as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def wish_of_power(supplies: Path = POWER_SUPPLIES) -> Wish:
    """How energy is best spent now: for quality at the mains, saved when little is left, else in between."""
    if power_source(supplies) != "battery":
        return Wish.QUALITY
    left = battery_percent(supplies)
    return Wish.SAVER if left is not None and left < _LOW_PERCENT else Wish.BALANCED


def battery_percent(supplies: Path = POWER_SUPPLIES) -> float | None:
    """What is left in the fullest battery; None without any that tells."""
    try:
        return max((float(each.read_text()) for each in supplies.glob("BAT*/capacity")), default=None)
    except (OSError, ValueError):
        return None


def power_source(supplies: Path = POWER_SUPPLIES) -> str:
    """mains, battery or unknown."""
    try:
        online = [supply.read_text().strip() == "1" for supply in supplies.glob("*/online")]
    except OSError:
        return "unknown"
    return "unknown" if not online else "mains" if any(online) else "battery"

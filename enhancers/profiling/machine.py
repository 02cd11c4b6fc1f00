"""The machine itself: its processor, cores, memory and what it runs on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from abr.core.device import Device

POWER_SUPPLIES = Path("/sys/class/power_supply")


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


def processor_name() -> str:
    """The processor's name as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def power_source(supplies: Path = POWER_SUPPLIES) -> str:
    """mains, battery or unknown."""
    try:
        online = [supply.read_text().strip() == "1" for supply in supplies.glob("*/online")]
    except OSError:
        return "unknown"
    return "unknown" if not online else "mains" if any(online) else "battery"

"""Cells that are counted, of a class of devices and a tier: bounded in number, and never of one viewer.

A cell's name is `class/tier/figure`, or `class//figure` for what is of the class alone. Milliseconds and loads go into
bins a quarter of an octave wide, which are figures too, so that percentiles can be told of sums over all workers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from abr.controllers.toprung.speed_classes import SpeedClass
from abr.core.enhancement import PLAIN
from abr.private_telemetry.layout import PLAN, TIERS
from server.monitoring.shown_quality import ShownQuality

DAYS = 7
"""Told of, today counted in."""
BINS_AN_OCTAVE = 4
BIN_MIN, BIN_MAX = -16, 64
"""From a sixteenth to 2^16."""
FRAMES_A_SECOND_MAX = 240
"""Players can say anything; more frames of a second of video are not counted."""
GAIN_STEP = 1e-4
"""Gains are counted in ten-thousandths of a point and second, energy in millijoules."""

Cells = Mapping[str, int]


def tier_of(enhancer: str) -> str:
    """The tier that an enhancer of a title stands for: all frame plans are one. Empty for plain playback."""
    if enhancer == PLAIN:
        return ""
    tier = enhancer.partition("-")[2].partition("-")[0]
    return tier if tier in TIERS else PLAN


def count_opened(device: SpeedClass, reference_ms: float | None, loads: Mapping[str, float]) -> Counter[str]:
    """A session was opened. loads: seconds of compute for a second of video that its device needs, by tier."""
    cells = Counter({f"{device}//sessions": 1})
    if reference_ms is not None:
        cells[f"{device}//reference_ms.{bin_of(reference_ms)}"] += 1
    for tier, load in loads.items():
        cells[f"{device}/{tier}/load.{bin_of(load)}"] += 1
    return cells


def count_shown(
    device: SpeedClass, seen: ShownQuality, *, frames: int, enhanced: int, late: int, p50_ms: float, p95_ms: float
) -> Counter[str]:
    """A segment was shown, lifted or plain."""
    most = math.ceil(FRAMES_A_SECOND_MAX * seen.duration_s)
    frames = min(frames, most)
    tier = tier_of(seen.enhancer)
    cells = Counter({f"{device}/{tier}/frames": frames, f"{device}/{tier}/segments": 1})
    if tier:
        at = f"{device}/{tier}"
        cells[f"{at}/enhanced"] = min(enhanced, frames)
        cells[f"{at}/late"] = min(late, frames)
        cells[f"{at}/gain"] = round(seen.gained * seen.duration_s / GAIN_STEP)
        cells[f"{at}/shown_ms"] = round(1000 * seen.duration_s)
        cells[f"{at}/energy_mj"] = round(1000 * seen.energy_j)
        if enhanced and p50_ms > 0:
            cells[f"{at}/p50_ms.{bin_of(p50_ms)}"] += 1
            cells[f"{at}/p95_ms.{bin_of(max(p50_ms, p95_ms))}"] += 1
    return cells


def bin_of(value: float) -> int:
    """The bin that a value above 0 falls into."""
    return min(max(math.floor(BINS_AN_OCTAVE * math.log2(max(value, 1e-9))), BIN_MIN), BIN_MAX)


def percentile(cells: Cells, at: str, share: float) -> float | None:
    """Of what was counted under `at` (`class/tier/figure`): the middle of its bin, or None of nothing."""
    bins = {each: cells.get(f"{at}.{each}", 0) for each in range(BIN_MIN, BIN_MAX + 1)}
    counts = np.cumsum(list(bins.values()))
    if not counts[-1]:
        return None
    found = BIN_MIN + int(np.searchsorted(counts, share * counts[-1]))
    return float(2 ** ((found + 0.5) / BINS_AN_OCTAVE))


class DayStore(Protocol):
    """Keeps cells by day. All coroutines raise StoreError when the store cannot be reached."""

    async def add(self, day: int, cells: Cells) -> None:
        """Count these too, all or none. day: since 1970, UTC."""
        ...

    async def since(self, day: int, days: int) -> Cells:
        """The sums over so many days up to and with this one."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

"""Units of two-column traces: those that a header names, and those that the numbers look like."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from abr.simulation.traces import Trace

STEP_DOUBT_S = 50.0
"""A median step from here on is rather milliseconds: traces are sampled every few seconds at most."""
RATE_DOUBT_BPS = 100e6
"""A median throughput from here on is rather kbit/s; some 5G traces reach it, so that it is only said."""
BITS_DOUBT_BPS = 1e11
"""And from here on rather bit/s."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf(inity)?", re.IGNORECASE)
_SPLIT = re.compile(r"[\s,;]+")
_TIME_S = {"us": 1e-6, "microseconds": 1e-6, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3}
_RATE_MBPS = {
    "bps": 1e-6, "bit/s": 1e-6, "bits/s": 1e-6, "bits/sec": 1e-6,
    "kbps": 1e-3, "kbit/s": 1e-3, "kbits/s": 1e-3, "kbits/sec": 1e-3, "kb/s": 1e-3,
    "gbps": 1e3, "gbit/s": 1e3, "gbits/s": 1e3, "gbits/sec": 1e3,
}  # fmt: skip


class Units(NamedTuple):
    """What one unit of each column is worth."""

    time_s: float = 1.0
    rate_mbps: float = 1.0


def split_columns(line: str) -> list[str]:
    """The cells of a line: whitespace, commas or semicolons between them."""
    return [cell for cell in _SPLIT.split(line) if cell]


def header_units(line: str) -> Units | None:
    """The units that a header of two columns names (s and Mbit/s where it names none), or None for a row of numbers."""
    cells = split_columns(line)
    if len(cells) != 2 or any(_NUMBER.fullmatch(cell) for cell in cells):
        return None
    return Units(_named(cells[0], _TIME_S), _named(cells[1], _RATE_MBPS))


def _named(cell: str, units: dict[str, float]) -> float:
    words = [cell, *re.split(r"[_()\[\]]+", cell)]
    return next((units[word.lower()] for word in words if word.lower() in units), 1.0)


def doubtful_units(trace: Trace) -> str:
    """A sentence about columns that look like milliseconds or kbit/s; empty for plausible seconds and Mbit/s."""
    step_s, rate_bps = float(np.median(trace.duration_s)), float(np.median(trace.throughput_bps))
    doubts = []
    if step_s >= STEP_DOUBT_S:
        doubts.append("the first column looks like milliseconds")
    if rate_bps >= RATE_DOUBT_BPS:
        doubts.append(f"the second column looks like {'bit/s' if rate_bps >= BITS_DOUBT_BPS else 'kbit/s'}")
    if not doubts:
        return ""
    return (
        f"Trace {trace.name!r} is read as seconds and Mbit/s: steps of {step_s:g} s at {rate_bps / 1e6:g} Mbit/s; "
        f"{' and '.join(doubts)}. If so, name the units in a first line, such as: time_ms kbps"
    )

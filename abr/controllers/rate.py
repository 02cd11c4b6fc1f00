"""Throughput rule: the highest rung that the estimated throughput carries, with a safety factor (dash.js, Sabre)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rules import expected, ladder, start, starting, step_down
from abr.crowd import Crowd, Decisions, Indices


def affordable_rung(seen: Observation, safety: float) -> tuple[int, float]:
    """The highest rung whose mean segment downloads within a segment's duration; and the rate it was given."""
    estimate = expected(seen)
    duration_s = float(seen.menu.duration_s[0])
    usable_bps = estimate.throughput_bps * safety * max(0.0, 1 - estimate.latency_s / duration_s)
    return ladder(seen.menu).highest_within(usable_bps), usable_bps


def affordable_rungs(seen: Crowd, safety: float) -> Indices:
    """`affordable_rung` for each session."""
    estimates = seen.expected
    usable_bps = estimates.throughput_bps * safety * np.maximum(0.0, 1 - estimates.latency_s / seen.segment_s)
    return ladder(seen.prices).highest_within_many(usable_bps)


@dataclass(frozen=True, slots=True)
class Throughput:
    """safety: the share of the estimated throughput that may be used."""

    safety: float = 0.9

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        rung, usable_bps = affordable_rung(seen, self.safety)
        reason = f"throughput: {usable_bps / 1e3:.0f} kbit/s usable carries rung {rung + 1}"
        return Decision(option=step_down(seen.menu, rung), reason=reason)

    def decide_many(self, seen: Crowd) -> Decisions:
        return ladder(seen.prices).play(affordable_rungs(seen, self.safety))

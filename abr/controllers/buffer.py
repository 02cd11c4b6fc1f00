"""BBA-0: a linear map from buffer to rate (Huang et al., SIGCOMM 2014, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rules import ladder, start, starting, step_down
from abr.crowd import Crowd, Decisions


@dataclass(frozen=True, slots=True)
class BufferBased:
    """reservoir, upper: shares of the full buffer below which the lowest and above which the highest rung plays."""

    reservoir: float = 0.1
    upper: float = 0.9

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        rates = ladder(seen.menu).bps
        fill = seen.buffer_s / seen.buffer_max_s
        share = min(max((fill - self.reservoir) / (self.upper - self.reservoir), 0.0), 1.0)
        allowed_bps = rates[0] + share * (rates[-1] - rates[0])
        rung = ladder(seen.menu).highest_within(allowed_bps)
        reason = f"buffer: {seen.buffer_s:.1f} of {seen.buffer_max_s:.0f} s maps to {allowed_bps / 1e3:.0f} kbit/s"
        return Decision(option=step_down(seen.menu, rung), reason=reason)

    def decide_many(self, seen: Crowd) -> Decisions:
        rungs = ladder(seen.prices)
        fill = seen.buffer_s / seen.buffer_max_s
        share = np.clip((fill - self.reservoir) / (self.upper - self.reservoir), 0.0, 1.0)
        return rungs.play(rungs.highest_within_many(rungs.bps[0] + share * (rungs.bps[-1] - rungs.bps[0])))

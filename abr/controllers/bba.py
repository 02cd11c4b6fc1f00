"""BBA-0: a linear map from buffer to rate (Huang et al., SIGCOMM 2014, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from abr.controllers.batch import ObservationBatch
from abr.controllers.ladder import LadderController, RungChoice, ladder_of
from abr.core.arrays import namespace_of
from abr.core.control import Observation


@dataclass(frozen=True, slots=True)
class BufferBased(LadderController):
    """reservoir, upper: shares of the full buffer below which the lowest and above which the highest rung plays."""

    reservoir: float = 0.1
    upper: float = 0.9

    def choose(self, observation: Observation | ObservationBatch) -> RungChoice:
        """Map the buffer to a rate and play the highest rung within it."""
        ladder, buffer_s, full_s = ladder_of(observation.menu), observation.buffer_s, observation.buffer_max_s
        xp = namespace_of(buffer_s)
        share = (buffer_s / full_s - self.reservoir) / (self.upper - self.reservoir)
        allowed_bps = ladder.bps[0] + xp.minimum(xp.maximum(share, 0.0), 1.0) * (ladder.bps[-1] - ladder.bps[0])
        return RungChoice(
            ladder.highest_within(allowed_bps),
            lambda: f"buffer: {buffer_s:.1f} of {full_s:.0f} s maps to {allowed_bps / 1e3:.0f} kbit/s",
        )

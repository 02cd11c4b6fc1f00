"""Always the same rung, whatever the network does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rules import ladder, step_down
from abr.crowd import Crowd, Decisions


@dataclass(frozen=True, slots=True)
class Fixed:
    """Plays rung `rung` of the ladder, plain: 0 is the lowest, -1 the highest."""

    rung: int = -1

    def decide(self, seen: Observation) -> Decision:
        rungs = len(ladder(seen.menu).options)
        rung = self._of(rungs)
        return Decision(option=step_down(seen.menu, rung), reason=f"fixed: rung {rung + 1} of {rungs}")

    def decide_many(self, seen: Crowd) -> Decisions:
        rungs = ladder(seen.prices)
        return rungs.play(np.full(len(seen.buffer_s), self._of(len(rungs.options))))

    def _of(self, rungs: int) -> int:
        return min(self.rung, rungs - 1) if self.rung >= 0 else max(rungs + self.rung, 0)

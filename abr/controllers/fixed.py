"""Always the same rung, whatever the network does."""

from __future__ import annotations

from dataclasses import dataclass

from abr.control import Decision, Observation
from abr.controllers.rules import ladder, step_down


@dataclass(frozen=True, slots=True)
class Fixed:
    """Plays rung `rung` of the ladder, plain: 0 is the lowest, -1 the highest."""

    rung: int = -1

    def decide(self, seen: Observation) -> Decision:
        rungs = len(ladder(seen.menu).options)
        rung = min(self.rung, rungs - 1) if self.rung >= 0 else max(rungs + self.rung, 0)
        return Decision(option=step_down(seen.menu, rung), reason=f"fixed: rung {rung + 1} of {rungs}")

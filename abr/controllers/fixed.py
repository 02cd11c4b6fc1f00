"""Always the same rung, whatever the network does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.controllers.batch import ObservationBatch
from abr.controllers.ladder import LadderController, RungChoice, ladder_of
from abr.core.control import Decision, Observation


@dataclass(frozen=True, slots=True)
class Fixed(LadderController):
    """Plays rung `rung` of the ladder, plain: 0 is the lowest, -1 the highest."""

    rung: int = -1

    def decide(self, observation: Observation) -> Decision:
        """Play the rung, or the nearest that there is, from the first segment on."""
        return self.decide_rung(observation)

    def choose(self, observation: Observation | ObservationBatch) -> RungChoice:
        """The rung, or the nearest that there is."""
        rungs = len(ladder_of(observation.menu).options)
        rung = min(self.rung, rungs - 1) if self.rung >= 0 else max(rungs + self.rung, 0)
        every = np.full(len(observation), rung) if isinstance(observation, ObservationBatch) else rung
        return RungChoice(every, lambda: f"fixed: rung {rung + 1} of {rungs}")

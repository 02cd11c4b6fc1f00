"""dash.js's Dynamic: throughput rule while the buffer is low, BOLA when it is not (Spiteri et al., MMSys 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from abr.controllers.batch import ObservationBatch
from abr.controllers.bola import bola_rung, without_overreach
from abr.controllers.ladder import LadderController, RungChoice, ladder_of
from abr.controllers.rate_based import affordable_rung
from abr.core.arrays import namespace_of
from abr.core.control import Observation


@dataclass(frozen=True, slots=True)
class Dynamic(LadderController):
    """switch_s: buffer at which the rules change places. memory: (1.0 while BOLA rules,)."""

    switch_s: float = 10.0
    safety: float = 0.9
    gamma_p: float = 5.0

    def choose(self, observation: Observation | ObservationBatch) -> RungChoice:
        """Follow throughput while the buffer is low, and BOLA once it is not."""
        buffer_s, where = observation.buffer_s, namespace_of(observation.buffer_s).where
        by_rate = affordable_rung(observation, self.safety)[0]
        best = bola_rung(observation, buffer_s, self.gamma_p)
        by_buffer = without_overreach(best, ladder_of(observation.menu).last_rung(observation.last), by_rate)
        is_full, is_higher = buffer_s >= self.switch_s, by_buffer >= by_rate
        bola_ruled = observation.memory[0] > 0 if observation.memory else False
        bola_rules = where(bola_ruled, is_full | is_higher, is_full & is_higher)
        rung = where(bola_rules, by_buffer, by_rate)

        def reason() -> str:
            rule = "BOLA" if bola_rules else "throughput"
            return f"dynamic: {rule} rules at buffer {buffer_s:.1f} s, plays rung {rung + 1}"

        return RungChoice(rung, reason, (where(bola_rules, 1.0, 0.0),))

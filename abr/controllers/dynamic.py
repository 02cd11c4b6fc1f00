"""dash.js's Dynamic: throughput rule while the buffer is low, BOLA when it is not (Spiteri et al., MMSys 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.bola import bola_rung, bola_rungs, without_overreach, without_overreach_many
from abr.controllers.rate import affordable_rung, affordable_rungs
from abr.controllers.rules import ladder, start, starting, step_down
from abr.crowd import Crowd, Decisions


@dataclass(frozen=True, slots=True)
class Dynamic:
    """switch_s: buffer at which the rules change places. memory: (1.0 while BOLA rules,)."""

    switch_s: float = 10.0
    safety: float = 0.9
    gamma_p: float = 5.0

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        by_rate = affordable_rung(seen, self.safety)[0]
        wanted = bola_rung(seen, seen.buffer_s, self.gamma_p)
        by_buffer = without_overreach(wanted, ladder(seen.menu).last_rung(seen), by_rate)
        bola = bool(seen.memory and seen.memory[0])
        if not bola and seen.buffer_s >= self.switch_s and by_buffer >= by_rate:
            bola = True
        elif bola and seen.buffer_s < self.switch_s and by_buffer < by_rate:
            bola = False
        rung = by_buffer if bola else by_rate
        rule = "BOLA" if bola else "throughput"
        reason = f"dynamic: {rule} rules at buffer {seen.buffer_s:.1f} s, plays rung {rung + 1}"
        return Decision(option=step_down(seen.menu, rung), reason=reason, memory=(float(bola),))

    def decide_many(self, seen: Crowd) -> Decisions:
        rungs, by_rate = ladder(seen.prices), affordable_rungs(seen, self.safety)
        wanted = bola_rungs(seen, seen.buffer_s, self.gamma_p)
        by_buffer = without_overreach_many(wanted, rungs.rung_of[seen.last], by_rate)
        bola = seen.memory[:, 0] > 0 if seen.memory.shape[1] else np.zeros(len(by_rate), dtype=bool)
        begins = ~bola & (seen.buffer_s >= self.switch_s) & (by_buffer >= by_rate)
        ends = bola & (seen.buffer_s < self.switch_s) & (by_buffer < by_rate)
        bola = (bola | begins) & ~ends
        return rungs.play(np.where(bola, by_buffer, by_rate), bola[:, None].astype(np.float64))

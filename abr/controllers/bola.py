"""BOLA: Lyapunov control of the buffer (Spiteri et al., INFOCOM 2016), as in Sabre and dash.js."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rate import affordable_rung, affordable_rungs
from abr.controllers.rules import Ladder, ladder, start, starting, step_down
from abr.crowd import Crowd, Decisions, Indices
from abr.options import Floats

PLACEHOLDER_STEPS = 40


def utilities(rungs: Ladder) -> list[float]:
    """Logarithm of each rate over the lowest."""
    return [math.log(rate / rungs.bps[0]) for rate in rungs.bps]


def bola_rung(seen: Observation, buffer_s: float, gamma_p: float) -> int:
    """The rung with the best drift plus penalty: argmax (V (utility + γp) - buffer) / rate. The lower on a tie."""
    rungs = ladder(seen.menu)
    utility = utilities(rungs)
    weight_s = max(seen.buffer_max_s - float(seen.menu.duration_s[0]), 0.0) / (utility[-1] + gamma_p)
    scores = [(weight_s * (u + gamma_p) - buffer_s) / rate for u, rate in zip(utility, rungs.bps, strict=True)]
    return scores.index(max(scores))


def bola_rungs(seen: Crowd, buffer_s: Floats, gamma_p: float) -> Indices:
    """`bola_rung` for each session."""
    rungs = ladder(seen.prices)
    utility = np.array(utilities(rungs))
    weight_s = max(seen.buffer_max_s - seen.segment_s, 0.0) / (utility[-1] + gamma_p)
    return np.asarray(np.argmax((weight_s * (utility + gamma_p) - buffer_s[:, None]) / rungs.rate_of, axis=1))


def without_overreach(rung: int, last: int, affordable: int) -> int:
    """BOLA-U: climb above the affordable rung one step at a time, so that the choice does not swing."""
    if rung <= last or rung <= affordable:
        return rung
    return last if last > affordable else last + 1


def without_overreach_many(rung: Indices, last: Indices, affordable: Indices) -> Indices:
    """`without_overreach` for each session."""
    held = np.where(last > affordable, last, last + 1)
    return np.where((rung <= last) | (rung <= affordable), rung, held)


@dataclass(frozen=True, slots=True)
class Bola:
    """gamma_p: the utility of playing without a stall, against that of quality."""

    gamma_p: float = 5.0

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        wanted = bola_rung(seen, seen.buffer_s, self.gamma_p)
        rung = without_overreach(wanted, ladder(seen.menu).last_rung(seen), affordable_rung(seen, 1.0)[0])
        reason = f"bola: buffer {seen.buffer_s:.1f} s scores rung {wanted + 1} best, plays {rung + 1}"
        return Decision(option=step_down(seen.menu, rung), reason=reason)

    def decide_many(self, seen: Crowd) -> Decisions:
        rungs = ladder(seen.prices)
        wanted = bola_rungs(seen, seen.buffer_s, self.gamma_p)
        return rungs.play(without_overreach_many(wanted, rungs.rung_of[seen.last], affordable_rungs(seen, 1.0)))


@dataclass(frozen=True, slots=True)
class BolaE:
    """BOLA-E (Spiteri et al., MMSys 2018, 3): a placeholder stands for buffer that a fast network could have filled.

    memory: (placeholder seconds,).
    """

    gamma_p: float = 5.0
    safety: float = 0.9

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        rungs = ladder(seen.menu)
        affordable = affordable_rung(seen, self.safety)[0]
        placeholder_s = self._placeholder(seen, affordable)
        wanted = bola_rung(seen, seen.buffer_s + placeholder_s, self.gamma_p)
        rung = without_overreach(wanted, rungs.last_rung(seen), affordable)
        reason = f"bola_e: buffer {seen.buffer_s:.1f} s + {placeholder_s:.1f} s placeholder, plays rung {rung + 1}"
        return Decision(option=step_down(seen.menu, rung), reason=reason, memory=(placeholder_s,))

    def decide_many(self, seen: Crowd) -> Decisions:
        rungs, affordable = ladder(seen.prices), affordable_rungs(seen, self.safety)
        placeholder_s = self._placeholders(seen, affordable)
        wanted = bola_rungs(seen, seen.buffer_s + placeholder_s, self.gamma_p)
        rung = without_overreach_many(wanted, rungs.rung_of[seen.last], affordable)
        return rungs.play(rung, placeholder_s[:, None])

    def _placeholder(self, seen: Observation, affordable: int) -> float:
        """At the start: as much as makes BOLA choose what the throughput affords; later what is left of it."""
        room_s = max(0.0, seen.buffer_max_s - float(seen.menu.duration_s[0]) - seen.buffer_s)
        if seen.memory:
            return min(seen.memory[0], room_s)
        for step in range(PLACEHOLDER_STEPS + 1):
            placeholder_s = room_s * step / PLACEHOLDER_STEPS
            if bola_rung(seen, seen.buffer_s + placeholder_s, self.gamma_p) >= affordable:
                return placeholder_s
        return room_s

    def _placeholders(self, seen: Crowd, affordable: Indices) -> Floats:
        """`_placeholder` for each session."""
        room_s = np.maximum(0.0, seen.buffer_max_s - seen.segment_s - seen.buffer_s)
        if seen.memory.shape[1]:
            return np.minimum(seen.memory[:, 0], room_s)
        found_s, open_ = room_s.copy(), np.ones(len(room_s), dtype=bool)
        for step in range(PLACEHOLDER_STEPS + 1):
            placeholder_s = room_s * step / PLACEHOLDER_STEPS
            enough = open_ & (bola_rungs(seen, seen.buffer_s + placeholder_s, self.gamma_p) >= affordable)
            found_s = np.where(enough, placeholder_s, found_s)
            open_ &= ~enough
        return found_s

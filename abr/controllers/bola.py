"""BOLA: Lyapunov control of the buffer (Spiteri et al., INFOCOM 2016), as in Sabre and dash.js."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from abr.controllers.batch import ObservationBatch
from abr.controllers.common import per_title
from abr.controllers.ladder import LadderController, RungChoice, ladder_of
from abr.controllers.rate_based import affordable_rung
from abr.core.arrays import Indices, Number, namespace_of
from abr.core.control import Observation
from abr.core.options import PriceList

PLACEHOLDER_STEPS = 40


@per_title
def utilities(prices: PriceList) -> list[float]:
    """Logarithm of each rung's rate over the lowest."""
    rates = ladder_of(prices).bps
    return [math.log(rate / rates[0]) for rate in rates]


def bola_rung(observation: Observation | ObservationBatch, buffer_s: Number, gamma_p: float) -> int | Indices:
    """The rung with the best drift plus penalty: argmax (V (utility + γp) - buffer) / rate. The lower on a tie."""
    menu = observation.menu
    utility, rates = utilities(menu), ladder_of(menu).bps
    weight_s = max(observation.buffer_max_s - float(menu.duration_s[0]), 0.0) / (utility[-1] + gamma_p)
    scores = [(weight_s * (u + gamma_p) - buffer_s) / rate for u, rate in zip(utility, rates, strict=True)]
    return np.argmax(np.stack(scores), axis=0) if isinstance(buffer_s, np.ndarray) else scores.index(max(scores))


def without_overreach(rung: int | Indices, last: int | Indices, affordable: int | Indices) -> int | Indices:
    """BOLA-U: climb above the affordable rung one step at a time, so that the choice does not swing."""
    where = namespace_of(rung).where
    climbed = where(last > affordable, last, last + 1)
    limited: int | Indices = where((rung <= last) | (rung <= affordable), rung, climbed)
    return limited


@dataclass(frozen=True, slots=True)
class Bola(LadderController):
    """gamma_p: the utility of playing without a stall, against that of quality."""

    gamma_p: float = 5.0

    def choose(self, observation: Observation | ObservationBatch) -> RungChoice:
        """The rung that the buffer scores best, without overreaching the throughput."""
        best, buffer_s = bola_rung(observation, observation.buffer_s, self.gamma_p), observation.buffer_s
        last, affordable = ladder_of(observation.menu).last_rung(observation.last), affordable_rung(observation, 1.0)
        rung = without_overreach(best, last, affordable[0])
        return RungChoice(rung, lambda: f"bola: buffer {buffer_s:.1f} s scores rung {best + 1} best, plays {rung + 1}")


@dataclass(frozen=True, slots=True)
class BolaE(LadderController):
    """BOLA-E (Spiteri et al., MMSys 2018, 3): a placeholder stands for buffer that a fast network could have filled.

    memory: (placeholder seconds,).
    """

    gamma_p: float = 5.0
    safety: float = 0.9

    def choose(self, observation: Observation | ObservationBatch) -> RungChoice:
        """As BOLA, with the placeholder counted as buffer."""
        affordable, buffer_s = affordable_rung(observation, self.safety)[0], observation.buffer_s
        placeholder_s = self._placeholder_s(observation, affordable)
        best = bola_rung(observation, buffer_s + placeholder_s, self.gamma_p)
        rung = without_overreach(best, ladder_of(observation.menu).last_rung(observation.last), affordable)
        return RungChoice(
            rung,
            lambda: f"bola_e: buffer {buffer_s:.1f} s + {placeholder_s:.1f} s placeholder, plays rung {rung + 1}",
            (placeholder_s,),
        )

    def _placeholder_s(self, observation: Observation | ObservationBatch, affordable: int | Indices) -> Number:
        """At the start: the least that makes BOLA choose what the throughput affords; later what is left of it."""
        xp, buffer_s = namespace_of(observation.buffer_s), observation.buffer_s
        room_s = xp.maximum(0.0, observation.buffer_max_s - float(observation.menu.duration_s[0]) - buffer_s)
        if observation.memory:
            return xp.minimum(observation.memory[0], room_s)  # type: ignore[no-any-return]
        least_s: Number = room_s
        for step in range(PLACEHOLDER_STEPS, -1, -1):
            placeholder_s = room_s * step / PLACEHOLDER_STEPS
            suffices = bola_rung(observation, buffer_s + placeholder_s, self.gamma_p) >= affordable
            least_s = xp.where(suffices, placeholder_s, least_s)
        return least_s

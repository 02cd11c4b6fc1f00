"""Throughput rule: the highest rung that the estimated throughput carries, with a safety factor (dash.js, Sabre)."""

from __future__ import annotations

from dataclasses import dataclass

from abr.controllers.batch import ObservationBatch
from abr.controllers.common import estimate_throughput
from abr.controllers.ladder import LadderController, RungChoice, ladder_of
from abr.core.arrays import Indices, Number, namespace_of
from abr.core.control import Observation


def affordable_rung(observation: Observation | ObservationBatch, safety: float) -> tuple[int | Indices, Number]:
    """The highest rung whose mean segment downloads within a segment's duration; and the rate it was given."""
    throughput_bps, latency_s = estimate_throughput(observation)
    duration_s = float(observation.menu.duration_s[0])
    used_share = namespace_of(latency_s).maximum(0.0, 1 - latency_s / duration_s)
    usable_bps: Number = throughput_bps * safety * used_share
    return ladder_of(observation.menu).highest_within(usable_bps), usable_bps


@dataclass(frozen=True, slots=True)
class Throughput(LadderController):
    """safety: the share of the estimated throughput that may be used."""

    safety: float = 0.9

    def choose(self, observation: Observation | ObservationBatch) -> RungChoice:
        """The highest rung that the usable throughput carries."""
        rung, usable_bps = affordable_rung(observation, self.safety)
        return RungChoice(rung, lambda: f"throughput: {usable_bps / 1e3:.0f} kbit/s usable carries rung {rung + 1}")

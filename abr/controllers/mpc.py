"""Robust MPC: the best plan over the next segments under a cautious throughput (Yin et al., SIGCOMM 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from abr.controllers.common import ignore_holes, is_offered, is_starting, last_vmaf
from abr.controllers.ladder import ladder_of, start, step_down
from abr.core.arrays import Indices
from abr.core.control import Decision, Download, Observation
from abr.core.qoe import STALL_PER_S
from abr.core.throughput import harmonic_mean, throughput_bps


@cache
def _rung_sequences(rungs: int, horizon: int) -> Indices:
    """(horizon, rungs ** horizon): every sequence of rungs."""
    return np.array(list(product(range(rungs), repeat=horizon)), dtype=np.intp).T


def largest_error(downloads: tuple[Download, ...], window: int = 5) -> float:
    """The largest relative error that the harmonic mean made on the last `window` downloads (their 5.2)."""
    errors = [
        abs(harmonic_mean(downloads[:k], window).throughput_bps / throughput_bps(downloads[k]) - 1)
        for k in range(max(1, len(downloads) - window), len(downloads))
    ]
    return max(errors, default=0.0)


@dataclass(frozen=True, slots=True)
class RobustMpc:
    """horizon: segments looked ahead; plans_max bounds the search on tall ladders by a shorter horizon."""

    horizon: int = 5
    plans_max: int = 10_000

    def decide(self, observation: Observation) -> Decision:
        """Play the first rung of the best plan over the horizon."""
        if is_starting(observation):
            return start(observation)
        error = largest_error(observation.downloads)
        estimate = harmonic_mean(observation.downloads)
        cautious_bps = estimate.throughput_bps / (1 + error)
        with ignore_holes():
            rung, value = self._best(observation, cautious_bps, estimate.latency_s)
        reason = (
            f"mpc: {cautious_bps / 1e3:.0f} kbit/s after an error of {error:.0%}, rung {rung + 1} is worth {value:.0f}"
        )
        option = ladder_of(observation.menu).options[rung]
        return Decision(
            option=option if is_offered(observation.menu, option) else step_down(observation.menu, rung), reason=reason
        )

    def _best(self, observation: Observation, rate_bps: float, latency_s: float) -> tuple[int, float]:
        menu, options = observation.menu, list(ladder_of(observation.menu).options)
        horizon = min(self.horizon, len(menu.duration_s))
        while horizon > 1 and len(options) ** horizon > self.plans_max:
            horizon -= 1
        plans = _rung_sequences(len(options), horizon)
        buffer_s = np.full(plans.shape[1], observation.buffer_s)
        value = np.zeros(plans.shape[1])
        before = last_vmaf(observation)
        for step in range(horizon):
            vmaf = menu.quality[step, options][plans[step]]
            left_s = buffer_s - latency_s - menu.size_bytes[step, options][plans[step]] * 8 / rate_bps
            value += vmaf + STALL_PER_S * np.minimum(left_s, 0.0)
            if before is not None:
                value -= np.abs(vmaf - before)
            buffer_s = np.minimum(np.maximum(left_s, 0.0) + menu.duration_s[step], observation.buffer_max_s)
            before = vmaf
        best = int(np.argmax(np.where(np.isfinite(value), value, -np.inf)))
        return int(plans[0, best]), float(value[best])

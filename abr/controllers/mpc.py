"""Robust MPC: the best plan over the next segments under a cautious throughput (Yin et al., SIGCOMM 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

from abr.control import Decision, Download, Observation
from abr.controllers.rules import ladder, last_vmaf, offered, quiet, start, starting, step_down
from abr.qoe import STALL_PER_S
from abr.throughput import harmonic_mean, throughput_bps


@cache
def _plans(rungs: int, horizon: int) -> npt.NDArray[np.intp]:
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

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        error = largest_error(seen.downloads)
        estimate = harmonic_mean(seen.downloads)
        cautious_bps = estimate.throughput_bps / (1 + error)
        with quiet():
            rung, value = self._best(seen, cautious_bps, estimate.latency_s)
        reason = (
            f"mpc: {cautious_bps / 1e3:.0f} kbit/s after an error of {error:.0%}, rung {rung + 1} is worth {value:.0f}"
        )
        option = ladder(seen.menu).options[rung]
        return Decision(option=option if offered(seen.menu, option) else step_down(seen.menu, rung), reason=reason)

    def _best(self, seen: Observation, rate_bps: float, latency_s: float) -> tuple[int, float]:
        menu, options = seen.menu, list(ladder(seen.menu).options)
        horizon = min(self.horizon, len(menu.duration_s))
        while horizon > 1 and len(options) ** horizon > self.plans_max:
            horizon -= 1
        plans = _plans(len(options), horizon)
        buffer_s = np.full(plans.shape[1], seen.buffer_s)
        value = np.zeros(plans.shape[1])
        before = last_vmaf(seen)
        for step in range(horizon):
            vmaf = menu.vmaf[step, options][plans[step]]
            left_s = buffer_s - latency_s - menu.size_bytes[step, options][plans[step]] * 8 / rate_bps
            value += vmaf + STALL_PER_S * np.minimum(left_s, 0.0)
            if before is not None:
                value -= np.abs(vmaf - before)
            buffer_s = np.minimum(np.maximum(left_s, 0.0) + menu.duration_s[step], seen.buffer_max_s)
            before = vmaf
        best = int(np.argmax(np.where(np.isfinite(value), value, -np.inf)))
        return int(plans[0, best]), float(value[best])

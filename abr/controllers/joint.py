"""Toprung's controller: rendition and enhancer together, over several throughputs that may come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rules import expected, last_vmaf, quiet, start, starting, step_down
from abr.options import Floats
from abr.qoe import STALL_PER_S

FACTORS = np.array([0.45, 0.8, 1.15])
CHANCES = np.array([0.3, 0.4, 0.3])


@dataclass(frozen=True, slots=True)
class Toprung:
    """Values each option as if it were held for `horizon` segments, under three throughputs, then a fuller buffer.

    buffer_value: VMAF points that a second of buffer is worth at the end, halving every `buffer_half_s`.
    """

    horizon: int = 5
    buffer_value: float = 25.0
    buffer_half_s: float = 8.0

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        estimate = expected(seen)
        with quiet():
            values = self._values(seen, estimate.throughput_bps, estimate.latency_s)
        option = int(np.argmax(values))
        if not np.isfinite(values[option]):
            return Decision(option=step_down(seen.menu, 0), reason="toprung: nothing else is offered")
        reason = (
            f"toprung: expects {estimate.throughput_bps / 1e3:.0f} kbit/s, buffer {seen.buffer_s:.1f} s, backlog "
            f"{seen.backlog_s:.1f} s; worth {values[option]:.0f} over {self.horizon} segments"
        )
        return Decision(option=option, reason=reason)

    def _values(self, seen: Observation, rate_bps: float, latency_s: float) -> Floats:
        """(O,) expected VMAF sum less changes and stalls, plus what the buffer left is worth; -inf if impossible."""
        menu = seen.menu
        steps = min(self.horizon, len(menu.duration_s))
        seconds = 8 / (rate_bps * FACTORS)[:, None]
        buffer_s = np.full((len(FACTORS), len(menu.choices)), seen.buffer_s)
        backlog_s = np.full_like(buffer_s, seen.backlog_s)
        value = np.zeros_like(buffer_s)
        before = last_vmaf(seen)
        for step in range(steps):
            size = menu.size_bytes[step] + (menu.weights_bytes if step == 0 else 0.0)
            download_s = latency_s + size * seconds
            left_s = buffer_s - download_s
            idle = backlog_s <= download_s
            backlog_s = np.where(idle, 0.0, backlog_s - download_s) + menu.compute_s[step]
            late_s = np.maximum(backlog_s - np.maximum(left_s, 0.0), 0.0) * (menu.compute_s[step] > 0)
            value += menu.vmaf[step] + STALL_PER_S * np.minimum(left_s, 0.0) - STALL_PER_S * late_s
            if before is not None:
                value -= np.abs(menu.vmaf[step] - before)
            before = menu.vmaf[step]
            buffer_s = np.minimum(np.maximum(left_s, 0.0) + menu.duration_s[step], seen.buffer_max_s)
        if menu.segments_left > steps:
            value += self.buffer_value * self.buffer_half_s * (1 - 0.5 ** ((buffer_s - backlog_s) / self.buffer_half_s))
        expected_value = CHANCES @ value
        late = (menu.compute_s[0] > 0) & (seen.backlog_s + menu.compute_s[0] > seen.buffer_s)
        return np.where(late | ~np.isfinite(expected_value), -np.inf, expected_value)

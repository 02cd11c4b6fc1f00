"""Many sessions at once: observations and decisions in columns, for controllers that decide for a whole crowd.

A crowd watches one title, and all of it is about to choose the same segment. M sessions, O options, N downloads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from abr.control import Controller
from abr.options import Floats, Menu, PriceList
from abr.throughput import RATE_MIN_BPS, SPAN_MIN_S, Estimates, dual_ewma_many

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Crowd:
    """`abr.control.Observation` for M sessions, of N ≥ 1 downloads each; the tables have no holes.

    buffer_s, backlog_s: (M,). last: (M,) the option shown before. weights_bytes: (M, O) still to be fetched.
    duration_s, latency_s, size_bytes: (N, M) the most recent downloads, oldest first (at most 16).
    memory: (M, K) what the controller handed back; K is 0 the first time.
    """

    prices: PriceList
    segment: int
    buffer_max_s: float
    buffer_s: Floats
    backlog_s: Floats
    last: Indices
    weights_bytes: Floats
    duration_s: Floats
    latency_s: Floats
    size_bytes: Floats
    memory: Floats

    @property
    def segment_s(self) -> float:
        return float(self.prices.duration_s[self.segment])

    @cached_property
    def menu(self) -> Menu:
        """What is to be chosen from, as for a device without weights."""
        return self.prices.menu(self.segment, 1)

    @cached_property
    def expected(self) -> Estimates:
        """Dual moving average over the recent downloads, as `abr.controllers.rules.expected`."""
        return dual_ewma_many(self.duration_s, self.latency_s, self.size_bytes, self.segment_s)

    @property
    def throughput_bps(self) -> Floats:
        """(N, M) of each download, as `abr.throughput.throughput_bps`."""
        spent_s = np.maximum(self.duration_s - self.latency_s, SPAN_MIN_S)
        return np.asarray(np.maximum(self.size_bytes * 8 / spent_s, RATE_MIN_BPS))

    @cached_property
    def vmaf_before(self) -> Floats:
        """(M,) quality of the segment before, as shown."""
        return np.asarray(self.prices.vmaf[self.segment - 1, self.last])

    def rows(self, chosen: Indices) -> Crowd:
        """Some of the sessions."""
        return Crowd(
            prices=self.prices,
            segment=self.segment,
            buffer_max_s=self.buffer_max_s,
            buffer_s=self.buffer_s[chosen],
            backlog_s=self.backlog_s[chosen],
            last=self.last[chosen],
            weights_bytes=self.weights_bytes[chosen],
            duration_s=self.duration_s[:, chosen],
            latency_s=self.latency_s[:, chosen],
            size_bytes=self.size_bytes[:, chosen],
            memory=self.memory[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """`abr.control.Decision` for M sessions, without reasons. option: (M,). wait_s: (M,) or 0. memory: (M, K)."""

    option: Indices
    memory: Floats
    wait_s: Floats | float = 0.0


@runtime_checkable
class CrowdController(Controller, Protocol):
    """A controller that can also decide for many sessions at once: the same decisions, sooner."""

    def decide_many(self, seen: Crowd) -> Decisions:
        """What `decide` would answer to each of them."""
        ...


def nothing_kept(sessions: int) -> Floats:
    """(M, 0): the memory of a controller that keeps none."""
    return np.empty((sessions, 0))

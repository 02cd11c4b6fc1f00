"""One network link that several downloads share at the same time, as TCP flows of equal round-trip time do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from abr.simulation.traces import Trace

SLACK_S = 1e-9
"""Rounding: what would take no longer than this has come."""


@dataclass(slots=True, kw_only=True, eq=False)
class Flow:
    """A download under way. pace_bps: the sender sends no faster than this."""

    left_bytes: float
    pace_bps: float = math.inf
    rate_bps: float = 0.0


class SharedLink:
    """A trace's throughput, divided max-min fairly among the flows under way. Time moves only through `advance`."""

    def __init__(self, trace: Trace) -> None:
        self.now_s = 0.0
        self.flows: list[Flow] = []
        self._trace = trace
        self._divided_until_s = 0.0

    def latency_s(self) -> float:
        """Seconds from a request made now to its first byte."""
        return self._trace.latency_at(self.now_s)

    def start(self, size_bytes: float, pace_bps: float = math.inf) -> Flow:
        """A download of so many bytes begins to flow."""
        flow = Flow(left_bytes=size_bytes, pace_bps=pace_bps)
        self.flows.append(flow)
        self._divided_until_s = self.now_s
        return flow

    def next_change_s(self) -> float:
        """The instant until which all rates stay as they are: the trace changes then, or a flow ends."""
        if self.now_s >= self._divided_until_s:
            self._divide()
        ends_s = [self.now_s + flow.left_bytes * 8 / flow.rate_bps for flow in self.flows if flow.rate_bps > 0]
        return min([self._divided_until_s, *ends_s])

    def advance(self, until_s: float) -> list[Flow]:
        """Let time pass, at most to the next change; returns the flows that ended."""
        passed_s = until_s - self.now_s
        self.now_s = until_s
        for flow in self.flows:
            flow.left_bytes -= flow.rate_bps / 8 * passed_s
        ended = [flow for flow in self.flows if flow.left_bytes <= flow.rate_bps / 8 * SLACK_S]
        if ended:
            self.flows = [flow for flow in self.flows if flow not in ended]
            self._divided_until_s = until_s
        return ended

    def _divide(self) -> None:
        capacity_bps, self._divided_until_s = self._trace.span_at(self.now_s)
        rates = divide_fairly(capacity_bps, [flow.pace_bps for flow in self.flows])
        for flow, rate_bps in zip(self.flows, rates, strict=True):
            flow.rate_bps = rate_bps


def divide_fairly(capacity: float, limits: Sequence[float]) -> list[float]:
    """Max-min fair parts of a capacity: equal ones, but that nobody gets more than its limit."""
    parts, left = [0.0] * len(limits), capacity
    for done, index in enumerate(sorted(range(len(limits)), key=lambda i: limits[i])):
        parts[index] = min(limits[index], left / (len(limits) - done))
        left -= parts[index]
    return parts

"""The playback model that simulator and live player share: a download buffer, start-up, stalls, an enhancement queue.

Follows BONES (SIGMETRICS 2024, section 3): the buffer drains while playing and stalls when empty; enhancement works
first in, first out; a segment is enhanced only if that ends before the segment starts to play.
"""

from __future__ import annotations

from dataclasses import dataclass

SLACK_S = 1e-9
"""Rounding that a deadline forgives."""


@dataclass(slots=True, kw_only=True)
class Playback:
    """One viewer's buffers. Time moves only through `advance`.

    buffer_s: media seconds downloaded and not yet played; buffer_max_s: the most there may be.
    backlog_s: compute seconds of enhancement accepted and not yet done.
    start_s: media seconds needed before playing begins.
    """

    buffer_max_s: float
    start_s: float = 0.0
    buffer_s: float = 0.0
    backlog_s: float = 0.0
    playing: bool = False
    startup_s: float = 0.0
    stall_s: float = 0.0
    played_s: float = 0.0

    def advance(self, time_s: float) -> float:
        """Let time pass; returns the seconds of it that playback stood still (start-up is not a stall)."""
        backlog_s = self.backlog_s - time_s
        self.backlog_s = backlog_s if backlog_s > 0 else 0.0
        if not self.playing:
            self.startup_s += time_s
            return 0.0
        left_s = self.buffer_s - time_s
        if left_s >= 0:
            self.buffer_s = left_s
            self.played_s += time_s
            return 0.0
        self.played_s += self.buffer_s
        self.buffer_s = 0.0
        self.stall_s -= left_s
        return -left_s

    def add(self, duration_s: float, compute_s: float = 0.0, lead_s: float | None = None) -> bool:
        """A segment has arrived. True if its enhancement was accepted: it is far enough when the segment is due.

        lead_s: the part of compute_s that must be done by then; all of it by default.
        """
        due_s = compute_s if lead_s is None else lead_s
        accepted = compute_s > 0 and self.backlog_s + due_s <= self.buffer_s + SLACK_S
        if accepted:
            self.backlog_s += compute_s
        self.buffer_s += duration_s
        if self.buffer_s >= self.start_s:
            self.playing = True
        return accepted

    def room_wait_s(self, duration_s: float) -> float:
        """How long to wait until a further segment fits; never longer than it takes to play all there is."""
        return max(0.0, min(self.buffer_s + duration_s - self.buffer_max_s, self.buffer_s))

"""Keeping the distance to the live edge that a stream asks for: a playback rate that nobody hears. Pure.

It follows dash.js (CatchupController) in what it weighs: the latency, and a buffer that must not run out. Who is far
behind leaves segments out instead (`client_player.source.live_session`).
"""

from __future__ import annotations

RATE_MIN, RATE_MAX = 0.95, 1.05
STEADY_S = 0.1
"""So near to the target, it plays at the stream's own rate."""
FULL_RATE_S = 0.5
"""So far from it, at the fastest or the slowest."""
BUFFER_MIN_S = 0.35
"""Nobody plays faster on less, for it would run out: a chunk and what its download may waver by."""


def playback_rate(latency_s: float, target_s: float, buffer_s: float) -> float:
    """Between RATE_MIN and RATE_MAX. latency_s: from in front of the camera to the screen, as it is now."""
    behind_s = latency_s - target_s
    if abs(behind_s) <= STEADY_S or (behind_s > 0 and buffer_s < BUFFER_MIN_S):
        return 1.0
    return min(RATE_MAX, max(RATE_MIN, 1.0 + (RATE_MAX - 1.0) * behind_s / FULL_RATE_S))

"""How soon segments can be fetched: seconds from when a segment's last frame came until its manifests list it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True)
class Readiness:
    """Takes in each segment. segment_s: of a usual one; what is ready later than that has fallen behind.

    seconds: of each, eight bytes for one, since a stream may run for days.
    """

    segment_s: float
    seconds: array[float] = field(default_factory=lambda: array("d"))
    is_behind: bool = False

    def add(self, ready_s: float) -> str:
        """Count a segment; returns a sentence when the encoders fall behind or have caught up, else nothing."""
        self.seconds.append(ready_s)
        was_behind, self.is_behind = self.is_behind, ready_s > self.segment_s
        if self.is_behind and (not was_behind or len(self.seconds) % 10 == 0):
            return (
                f"falls behind: the last segment was ready {ready_s:.1f} s after its last frame; "
                "give fewer --heights or a faster --preset."
            )
        return "has caught up." if was_behind and not self.is_behind else ""

    def summary(self) -> dict[str, float]:
        """Seconds: median, 99th percentile and the longest. Empty before the first segment."""
        if not self.seconds:
            return {}
        return {
            "p50_s": round(percentile(self.seconds, 50), 3),
            "p99_s": round(percentile(self.seconds, 99), 3),
            "max_s": round(max(self.seconds), 3),
        }


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank: the smallest value that at least `share` per cent do not exceed."""
    ordered = np.sort(values)
    return float(ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)])

"""Whether lifting pays, by the last lifts. All pure: time is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

WINDOW = 16
"""Lifts that are looked at, the newest."""
KNOWN_MIN = 8
"""Fewer tell nothing."""
LATE_SHARE_MAX = 0.5
REST_S = 60.0
"""Lifting that did not pay is tried again after this long."""
_J_PER_KWH, _BYTES_PER_GB = 3.6e6, 1e9


class Loss(StrEnum):
    """Why lifting does not pay."""

    BEHIND = "behind"
    """Lifts came too late for those who were to see them."""
    GAIN = "gain"
    """The ladder alone would take no more bytes for the same quality."""
    ENERGY = "energy"
    """It took more energy than the bytes are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftCost:
    """Of one lift, or of several: what it took, and the bytes of the line that it saved (less than none: it cost)."""

    media_s: float
    cpu_s: float
    energy_j: float
    saved_bytes: float


class Balance:
    """kwh_per_gb_max: energy that a gigabyte saved on the line may take."""

    def __init__(self, kwh_per_gb_max: float) -> None:
        self._kwh_per_gb_max = kwh_per_gb_max
        self._costs: deque[LiftCost] = deque(maxlen=WINDOW)
        self._in_time: deque[bool] = deque(maxlen=WINDOW)
        self._rests: tuple[float, Loss] | None = None

    def lifted(self, cost: LiftCost) -> None:
        """What one more lift took."""
        self._costs.append(cost)

    def closed(self, *, in_time: bool) -> None:
        """An order to lift is done with, in time for somebody or not."""
        self._in_time.append(in_time)

    def loss(self, now_s: float) -> Loss | None:
        """Why nothing is to be lifted just now; None where it pays, or is to be tried again."""
        if self._rests is not None and now_s < self._rests[0] + REST_S:
            return self._rests[1]
        if self._rests is not None:
            self._rests = None
            self._costs.clear()
            self._in_time.clear()
        if (found := self._found()) is not None:
            self._rests = now_s, found
        return found

    def _found(self) -> Loss | None:
        if len(self._in_time) >= KNOWN_MIN and self._in_time.count(False) > LATE_SHARE_MAX * len(self._in_time):
            return Loss.BEHIND
        if len(self._costs) < KNOWN_MIN:
            return None
        saved_gb = sum(cost.saved_bytes for cost in self._costs) / _BYTES_PER_GB
        if saved_gb <= 0:
            return Loss.GAIN
        kwh = sum(cost.energy_j for cost in self._costs) / _J_PER_KWH
        return Loss.ENERGY if kwh > self._kwh_per_gb_max * saved_gb else None

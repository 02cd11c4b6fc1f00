"""What counts as quality, in points: VMAF as it is, or put through a curve that people's opinions gave.

Every quality of experience here is points less changes less stalls (`abr.core.qoe.experience`). So whatever learns from
people only has to say what a picture is worth in points; controllers, the simulator and reports stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abr.core.arrays import Floats
from abr.errors import FormatError


@dataclass(frozen=True, slots=True)
class QualityScale:
    """Points that a quality of so many VMAF points is worth: linear between knots, level beyond the ends.

    vmaf: rising. points: never falling, so that more quality is never worth less.
    """

    vmaf: tuple[float, ...]
    points: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises FormatError for knots that are no such curve."""
        steps = np.diff(self.vmaf), np.diff(self.points)
        if not self.vmaf or len(self.vmaf) != len(self.points) or (steps[0] <= 0).any() or (steps[1] < 0).any():
            raise FormatError("A quality scale needs knots with rising VMAF, and points that never fall.")

    def of(self, quality: Floats) -> Floats:
        """Of any array; holes (NaN) stay holes."""
        return np.asarray(np.interp(quality, self.vmaf, self.points))

    def of_each(self, quality: Sequence[float]) -> tuple[float, ...]:
        """The same as plain numbers."""
        return tuple(self.of(np.asarray(quality, dtype=np.float64)).tolist())

"""Where one shot ends and the next begins: a kernel is asked to stand still within a shot only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abr.blur.patches import Luma

_CELLS = 16
_LEVELS = 16
_CUT_MIN = 0.35
"""Share of the picture's histogram that has to change between two frames."""
_RATIO_MIN = 3.0
"""How many times more than the usual change of the frames before it: a shaky camera is no cut."""
_USUAL_DECAY = 0.8
_SHOT_FRAMES_MIN = 6


class ShotDetector:
    """Told frame after frame, says which begin a shot: the grey values of a 16×16 picture change at once."""

    def __init__(self) -> None:
        self._last: npt.NDArray[np.float64] | None = None
        self._usual = 0.05
        self._since = 0

    def begins(self, luma: Luma) -> bool:
        """Whether this frame, (H, W), is the first of a shot. The very first one is."""
        seen, self._since = _histogram(luma), self._since + 1
        if self._last is None:
            self._last = seen
            return True
        change = float(np.abs(seen - self._last).sum()) / 2
        self._last = seen
        is_cut = change > max(_CUT_MIN, _RATIO_MIN * self._usual) and self._since > _SHOT_FRAMES_MIN
        if is_cut:
            self._since = 0
        else:
            self._usual = _USUAL_DECAY * self._usual + (1 - _USUAL_DECAY) * change
        return is_cut


def _histogram(luma: Luma) -> npt.NDArray[np.float64]:
    """Grey values in each quarter of the picture, of means over cells: (4 · _LEVELS,), sum 1."""
    rows, columns = (max(1, side // _CELLS) for side in luma.shape)
    small = luma[rows // 2 :: rows, columns // 2 :: columns][:_CELLS, :_CELLS] // (256 // _LEVELS)
    half = _CELLS // 2
    parts = (small[:half, :half], small[:half, half:], small[half:, :half], small[half:, half:])
    counts = np.concatenate([np.bincount(part.reshape(-1), minlength=_LEVELS) for part in parts])
    shares: npt.NDArray[np.float64] = counts / max(1, counts.sum())
    return shares

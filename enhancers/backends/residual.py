"""From the cells that a network ends with to the picture: pixel shuffle and saturating addition, in place, by numpy.

OpenVINO's DepthToSpace took as long as three of the convolutions before it; a row of a cell's pixels moved as one
integer takes a twentieth of that. Residuals are whole code values, so that adding them to whole code values rounds as
adding before rounding would.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enhancers.frames import Plane

Cells = npt.NDArray[np.int8]

RESIDUAL_MIN, RESIDUAL_MAX = -128, 127
_INTEGERS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


class Residual:
    """Adds cells of `shuffle`² pixels to a picture of `width_px` × `height_px`, which may cut the last ones off."""

    def __init__(self, rows: int, columns: int, shuffle: int, width_px: int, height_px: int) -> None:
        self._shuffle = shuffle
        self._shuffled = np.empty((rows, shuffle, columns, shuffle), np.int8)
        self._residual = self._shuffled.reshape(rows * shuffle, columns * shuffle)[:height_px, :width_px]
        self._sum = np.empty((height_px, width_px), np.int16)

    def add(self, plain: Plane, cells: Cells, out: Plane) -> None:
        """out = plain + residual, within 0–255, out may be plain. cells: int8 (rows, columns, shuffle²)."""
        self._shuffle_in(cells)
        np.add(plain, self._residual, out=self._sum)
        np.clip(self._sum, 0, 255, out=self._sum)
        out[:] = self._sum

    def _shuffle_in(self, cells: Cells) -> None:
        r, shuffled = self._shuffle, self._shuffled
        if integer := _INTEGERS.get(r):
            shuffled.view(integer)[..., 0] = cells.view(integer).transpose(0, 2, 1)
            return
        for y in range(r):
            for x in range(r):
                shuffled[:, y, :, x] = cells[:, :, y * r + x]

"""From the cells that a network ends with to the picture: pixel shuffle and saturating addition, by numpy.

OpenVINO's DepthToSpace took as long as three of the convolutions before it; a row of a cell's pixels moved as one
integer takes a twentieth of that. Residuals are whole code values, so that adding them to whole code values rounds as
adding before rounding would.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from abr.media.planes import Plane

Residuals = npt.NDArray[np.int8]

RESIDUAL_MIN, RESIDUAL_MAX = -128, 127
_INTEGERS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


class Shuffle:
    """Lays cells of `side`² pixels out as a picture of `width_px` × `height_px`, which may cut the last ones off."""

    def __init__(self, rows: int, columns: int, side: int, width_px: int, height_px: int) -> None:
        self._side = side
        self._cells = np.empty((rows, side, columns, side), np.int8)
        self._picture = self._cells.reshape(rows * side, columns * side)[:height_px, :width_px]

    def __call__(self, cells: Residuals) -> Residuals:
        """cells: int8 (rows, columns, side²). Returns int8 (height, width), in the same memory at each call."""
        side, shuffled = self._side, self._cells
        if integer := _INTEGERS.get(side):
            shuffled.view(integer)[..., 0] = cells.view(integer).transpose(0, 2, 1)
        else:
            for y in range(side):
                for x in range(side):
                    shuffled[:, y, :, x] = cells[:, :, y * side + x]
        return self._picture


class Adder(Protocol):
    """out = plain + the rounded `share` of residual, within 0–255. Of one size, with any strides; out may be plain."""

    def __call__(self, plain: Plane, residual: Residuals, out: Plane, share: float = 1.0) -> None:
        """Write plain + share × residual, clipped to bytes, into `out`, which may be `plain`."""
        ...


class Sum:
    """An `Adder` by numpy."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self._sum = np.empty((height_px, width_px), np.int16)

    def __call__(self, plain: Plane, residual: Residuals, out: Plane, share: float = 1.0) -> None:
        """See Adder."""
        part = residual if share == 1.0 else np.rint(residual * np.float32(share)).astype(np.int8)
        np.add(plain, part, out=self._sum)
        np.clip(self._sum, 0, 255, out=self._sum)
        out[:] = self._sum

"""The interpolation under a network's residual as kernels: swscale's Lanczos, as sums over the input around a cell.

A cell is a position of the network's working grid: `squeeze` pixels of the input along each side, `squeeze · scale` of
the picture shown.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LOBES = 3
"""Of the Lanczos window on either side, in input pixels."""


def lanczos_kernels(scale: float, squeeze: int, *, left_sited: bool = False) -> npt.NDArray[np.float32]:
    """Interpolation to `scale` times the size: a kernel for each pixel of an output cell, over the input around it.

    left_sited: for chroma that lies on the left one of each pair of pixels, before and after (H.264's usual place).
    Returns float32 ((squeeze · scale)², 1, squeeze + 6, squeeze + 6), to be applied with a stride of `squeeze`.
    """
    rows = lanczos_rows(scale, squeeze)
    columns = lanczos_rows(scale, squeeze, 0.25 - 0.25 / scale) if left_sited else rows
    cells = np.einsum("ab,cd->acbd", rows, columns)
    kernels: npt.NDArray[np.float32] = cells.reshape(len(rows) ** 2, 1, *cells.shape[2:]).astype(np.float32)
    return kernels


def lanczos_rows(scale: float, squeeze: int, shift_px: float = 0.0) -> npt.NDArray[np.float64]:
    """Weights along one side: a row for each pixel of an output cell, summing to 1, over the input from LOBES before.

    shift_px: of the pixels shown, in pixels of the input. Returns (squeeze · scale, squeeze + 6).
    """
    centres = (np.arange(round(squeeze * scale), dtype=np.float64) + 0.5) / scale - 0.5 + shift_px
    away = np.arange(-LOBES, squeeze + LOBES)[None] - centres[:, None]
    line = np.where(np.abs(away) < LOBES, np.sinc(away) * np.sinc(away / LOBES), 0.0)
    weights: npt.NDArray[np.float64] = line / line.sum(axis=1, keepdims=True)
    return weights

"""The parts of a picture that tell its blur: square patches with strong edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Luma = npt.NDArray[np.uint8]
Patches = npt.NDArray[np.uint8]
"""(N, PATCH_PX, PATCH_PX), the strongest edges first."""

PATCH_PX = 32
PATCHES_MAX = 48
_SHARE_MAX = 0.5
"""Of a small picture's patches: those with weaker edges tell more of noise than of blur."""
_ENERGY_MIN = 2.0
"""Mean squared difference of neighbouring pixels below which a patch is flat: compression leaves nearly as much."""
_BLACK, _BLACK_SHARE_MAX = 18, 0.2
"""Letterbox borders are sharper than the picture."""


def edge_patches(luma: Luma, patches_max: int = PATCHES_MAX) -> Patches:
    """Patches of one picture, luma (H, W), on a grid; none of a flat or dark picture."""
    tiles = _tiles(luma)
    energy = _edge_energy(tiles)
    dark = (tiles <= _BLACK).mean((1, 2)) > _BLACK_SHARE_MAX
    energy[dark] = 0.0
    wanted = min(patches_max, max(2, int(_SHARE_MAX * len(tiles))))
    strongest = np.argsort(-energy, kind="stable")[:wanted]
    return tiles[strongest[energy[strongest] >= _ENERGY_MIN]]


def _tiles(luma: Luma) -> Patches:
    """The picture cut into whole patches, evenly about its middle."""
    rows, columns = luma.shape[0] // PATCH_PX, luma.shape[1] // PATCH_PX
    top, left = ((side % PATCH_PX) // 2 for side in luma.shape)
    whole = luma[top : top + rows * PATCH_PX, left : left + columns * PATCH_PX]
    cut = whole.reshape(rows, PATCH_PX, columns, PATCH_PX).swapaxes(1, 2)
    return np.ascontiguousarray(cut.reshape(-1, PATCH_PX, PATCH_PX))


def _edge_energy(tiles: Patches) -> npt.NDArray[np.float64]:
    """Of the direction that has less of it: a patch with edges in one direction tells half of a kernel."""
    values = tiles.astype(np.int16)
    across, down = (np.diff(values, axis=axis).astype(np.float64) ** 2 for axis in (2, 1))
    means = across.mean((1, 2)), down.mean((1, 2))
    energy: npt.NDArray[np.float64] = np.minimum(*means) + 0.25 * np.maximum(*means)
    return energy

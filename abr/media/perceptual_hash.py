"""Perceptual hashes: 64 bits that say what a picture shows, whatever its size and however it was compressed.

pHash of Zauner, "Implementation and benchmarking of perceptual image hash functions" (thesis, Hagenberg 2010), 3.2.1:
luma at 32×32, its cosine transform, of that the 8×8 lowest frequencies without the very lowest, each above their median
or not. Zauner takes two pictures for the same when their bits differ in less than about a quarter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from abr.core.arrays import Floats
from abr.media.planes import Plane

_SIDE_PX, _KEPT = 32, 8
_CONTRAST_MIN = 4.0
"""Standard deviation of the luma below which a picture is plain, such as black, and shows nothing to know it by."""


def hash_picture(luma: Plane | Floats) -> int | None:
    """The hash of luma of any size, (H, W), 0–255; None for a plain picture. Raises ValueError below 32×32."""
    small = _shrink(np.asarray(luma, np.float64))
    if small.std() < _CONTRAST_MIN:
        return None
    low = (_COSINES @ small @ _COSINES.T).ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hash_frames(lumas: Iterable[Plane], *, every: int, frames_max: int) -> list[int]:
    """Hashes of one frame in `every`, of the first `frames_max`, plain ones and repetitions left out."""
    found = (hash_picture(luma) for luma in islice(lumas, 0, frames_max, every))
    return list(dict.fromkeys(value for value in found if value is not None))


def count_differing_bits(some: Sequence[int], others: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Of each hash against each other, 0–64: (len(some), len(others))."""
    mine, theirs = (np.array(hashes, np.uint64).view(np.uint8).reshape(-1, 8) for hashes in (some, others))
    bits: npt.NDArray[np.uint8] = np.unpackbits(mine[:, None] ^ theirs[None, :], axis=2).sum(axis=2, dtype=np.uint8)
    return bits


def _cosines() -> Floats:
    """Rows 1 to 8 of the cosine transform of 32 numbers (type II), without the factor that all have."""
    rows, places = np.arange(1, _KEPT + 1)[:, None], np.arange(_SIDE_PX)[None, :]
    cosines: Floats = np.cos(np.pi * rows * (2 * places + 1) / (2 * _SIDE_PX))
    return cosines


_COSINES: Final = _cosines()


def _shrink(luma: Floats) -> Floats:
    """To 32×32, each the mean of its part of the picture."""
    if min(luma.shape) < _SIDE_PX:
        raise ValueError(f"A picture of {luma.shape} is too small for a perceptual hash.")
    for axis in (0, 1):
        size = luma.shape[axis]
        edges = np.arange(_SIDE_PX) * size // _SIDE_PX
        widths = np.diff(np.append(edges, size))
        luma = np.add.reduceat(luma, edges, axis=axis) / (widths[:, None] if axis == 0 else widths[None, :])
    return luma

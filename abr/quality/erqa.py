"""ERQA: how many of the source's edges a restored picture has, and how many of its edges the source has not.

The edges that Canny's detector finds are compared pixel by pixel, with one pixel of slack, as an F₁ score (Kirillova,
Lyapustin, Antsiferova, Vatolin, "ERQA: Edge-Restoration Quality Assessment for Video Super-Resolution", VISAPP 2022;
version 1.0 of the PyPI package erqa, whose scores this module meets within 1e-9). The detector is OpenCV's with its
usual 3×3 Sobel operator and |dx| + |dy| for a gradient's length, which spares a dependency of 150 MB.

A pair of 1280x720 takes some 160 ms of one core.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from abr.quality.pictures import Rgb

Edges = npt.NDArray[np.bool_]
Gradient = npt.NDArray[np.int16]
Pixel = TypeVar("Pixel", bound=np.generic)

SMALLEST_PX: Final = 16
"""Pictures that are narrower or lower have no edges to speak of."""
_WEAK, _STRONG = 100, 200
_SHIFT_PX = 3
"""A whole picture may lie this far beside the source."""
_TAN_22_5, _TAN_BITS = 13573, 15
"""tan 22.5° in fixed point, as in OpenCV."""
_CHUNK_PX = 1 << 16


def erqa(source: Rgb, shown: Rgb) -> float:
    """The score of a shown picture against its source, both uint8 (3, H, W): 0–1, higher is better.

    1 when neither has an edge (the reference says 0 there: nothing was to be restored, and nothing is wrong).
    Raises ValueError when the pictures differ in size or are smaller than SMALLEST_PX.
    """
    if source.shape != shown.shape or min(source.shape[1:]) < SMALLEST_PX:
        raise ValueError(f"two pictures of one size from {SMALLEST_PX} px on are needed: {source.shape}, {shown.shape}")
    down, right = _displacement(source, shown)
    return f1_of_edges(canny(_overlap(source, -down, -right)), canny(_overlap(shown, down, right)))


def f1_of_edges(source: Edges, shown: Edges) -> float:
    """Harmonic mean of precision and recall; a shown edge is right within one pixel of one of the source."""
    if not source.any() and not shown.any():
        return 1.0
    right = shown & _widened(source)
    hits, missed = int(right.sum()), int((source & ~right).sum())
    precision, recall = hits / max(1, int(shown.sum())), hits / max(1, hits + missed)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def _widened(edges: Edges) -> Edges:
    """Every pixel within one of an edge, also around the picture's borders as the reference has it."""
    rows = edges | np.roll(edges, 1, axis=0) | np.roll(edges, -1, axis=0)
    widened: Edges = rows | np.roll(rows, 1, axis=1) | np.roll(rows, -1, axis=1)
    return widened


def _displacement(source: Rgb, shown: Rgb) -> tuple[int, int]:
    """By how many pixels, down and right, the shown picture lies beside the source: there the squared error is least.

    The squared error of an overlap is summed as a² + b² − 2ab.
    """
    _, height, width = source.shape
    reach = range(-_SHIFT_PX, _SHIFT_PX + 1)
    source_squares, shown_squares = _border_squares(source), _border_squares(shown)
    products = _products(source, shown)
    errors: dict[tuple[int, int], float] = {}
    for down in reach:
        for right in reach:
            squares = _overlap(source_squares, -down, -right).sum() + _overlap(shown_squares, down, right).sum()
            area_px = (height - abs(down)) * (width - abs(right))
            errors[down, right] = (squares - 2 * products[down, right]) / area_px
    return min(errors, key=lambda shift: errors[shift])


def _overlap(picture: npt.NDArray[Pixel], down: int, right: int) -> npt.NDArray[Pixel]:
    """What is left of a picture (…, H, W) when it is moved up by `down` and left by `right` pixels."""
    height, width = picture.shape[-2:]
    return picture[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]


def _centred(picture: Rgb) -> npt.NDArray[np.float32]:
    """Values around 0 keep sums small enough for float32; differences stay as they are."""
    return picture.astype(np.float32) - 128


def _border_squares(picture: Rgb) -> npt.NDArray[np.float64]:
    """Sums of squares (7, 7): the outer rows and columns that a shift may cut off one by one, all between as one."""
    squares: npt.NDArray[np.floating] = np.square(_centred(picture)).sum(axis=0)
    for axis, length in enumerate(squares.shape):
        cuts = [*range(_SHIFT_PX + 1), *range(length - _SHIFT_PX, length)]
        squares = np.add.reduceat(squares, cuts, axis=axis, dtype=np.float64)
    return np.asarray(squares, dtype=np.float64)


def _products(source: Rgb, shown: Rgb) -> dict[tuple[int, int], float]:
    """Sum of the products of overlapping pixels for each shift (down, right)."""
    border = ((0, 0), (_SHIFT_PX, _SHIFT_PX), (_SHIFT_PX, _SHIFT_PX))
    still, moved = (np.pad(_centred(picture), border) for picture in (source, shown))
    stride = still.shape[2]
    reach = range(-_SHIFT_PX, _SHIFT_PX + 1)
    sums = {(down, right): 0.0 for down in reach for right in reach}
    farthest = _SHIFT_PX * (stride + 1)
    first, last = farthest, still[0].size - farthest
    for still_plane, moved_plane in zip(still.reshape(3, -1), moved.reshape(3, -1), strict=True):
        # Zeros lie around the planes, so a shift is a distance in memory. Chunks stay in the processor's cache.
        for start in range(first, last, _CHUNK_PX):
            end = min(start + _CHUNK_PX, last)
            chunk = still_plane[start:end]
            for down, right in sums:
                offset = down * stride + right
                sums[down, right] += float(np.dot(chunk, moved_plane[start + offset : end + offset]))
    return sums


def canny(picture: Rgb) -> Edges:
    """Edges (H, W) of a picture, uint8 (3, H, W), as cv2.Canny(picture, 100, 200) finds them in its BGR."""
    dx, dy = _steepest_gradient(picture)
    # One pixel of zeros around: no gradient outside.
    length = np.pad(np.abs(dx) + np.abs(dy), 1)
    stride = length.shape[1]
    places = np.flatnonzero(length > _WEAK)
    rows, columns = np.divmod(places, stride)
    ridge = places[_is_ridge(length.ravel(), places, dx[rows - 1, columns - 1], dy[rows - 1, columns - 1], stride)]
    edges = _connected(length.ravel(), ridge, stride)
    return edges.reshape(length.shape)[1:-1, 1:-1]


def _steepest_gradient(picture: Rgb) -> tuple[Gradient, Gradient]:
    """Sobel's dx and dy, (H, W), of the colour with the longest gradient; of the first of B, G, R at a tie."""
    blue, green, red = (_sobel(plane) for plane in picture[::-1])
    dx, dy = blue
    length = np.abs(dx) + np.abs(dy)
    for other_dx, other_dy in (green, red):
        other_length = np.abs(other_dx) + np.abs(other_dy)
        longer = other_length > length
        for kept, other in ((dx, other_dx), (dy, other_dy), (length, other_length)):
            np.copyto(kept, other, where=longer)
    return dx, dy


def _sobel(plane: npt.NDArray[np.uint8]) -> tuple[Gradient, Gradient]:
    padded = np.pad(plane.astype(np.int16), 1, mode="edge")
    across = padded[:, 2:] - padded[:, :-2]
    down = padded[2:] - padded[:-2]
    return (
        across[:-2] + 2 * across[1:-1] + across[2:],
        down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:],
    )


def _is_ridge(
    length: Gradient, places: npt.NDArray[np.intp], dx: Gradient, dy: Gradient, stride: int
) -> npt.NDArray[np.bool_]:
    """Whether the gradient at each place is longer than at its neighbours along its direction, rounded to 45°."""
    wide, tall = np.abs(dx).astype(np.int64), np.abs(dy).astype(np.int64)
    shallow = wide * _TAN_22_5
    level = (tall << _TAN_BITS) < shallow
    upright = (tall << _TAN_BITS) > shallow + (wide << (_TAN_BITS + 1))
    diagonal = ~level & ~upright
    leaning = np.where((dx ^ dy) < 0, stride - 1, stride + 1)
    step = np.where(level, 1, np.where(upright, stride, leaning))
    here, before, after = length[places], length[places - step], length[places + step]
    return (here > before) & np.where(diagonal, here > after, here >= after)


def _connected(length: Gradient, ridge: npt.NDArray[np.intp], stride: int) -> Edges:
    """Strong places of the ridge, and those that touch one directly or through others."""
    waiting = np.zeros(length.size, dtype=np.bool_)
    waiting[ridge] = True
    edges = np.zeros_like(waiting)
    around = np.array([row * stride + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    found = ridge[length[ridge] > _STRONG]
    while found.size:
        edges[found] = True
        waiting[found] = False
        near = (found[:, None] + around).ravel()
        found = np.unique(near[waiting[near]])
    return edges

"""Photographs as film: a window that moves over a still picture, for training on more of the world than clips show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, decode_file, frame_of

KINDS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_ROOM = 1.25
"""The picture is brought to this many times the window, if it is larger: as sharp as film, and with room to move."""
_STEP_PX = 2
"""Along the longer way of each frame: half a pixel of a rung four times smaller, so that no two frames sample alike."""


def pan_over(path: str, *, width_px: int, height_px: int, frames: int, seed: int = 0) -> Iterator[Frame]:
    """`frames` frames of a window of at most this size that crosses the picture in a direction drawn from `seed`.

    Raises MediaError when the file holds no picture that can be decoded.
    """
    picture = next(decode_file(path))
    share = _ROOM * max(width_px / picture.width_px, height_px / picture.height_px)
    if share < 1:
        size = int(picture.width_px * share) & ~1, int(picture.height_px * share) & ~1
        picture = PlainScaler(picture.width_px, picture.height_px, *size).enhance(picture)
    width, height = min(width_px, picture.width_px) & ~1, min(height_px, picture.height_px) & ~1
    room = np.array([picture.height_px - height, picture.width_px - width])
    random = np.random.default_rng(seed)
    direction = random.normal(size=2)
    direction *= _STEP_PX / np.abs(direction).max()
    start = random.random(2) * room
    for index in range(frames):
        top, left = (int(place) // 2 for place in _bounce(start + index * direction, room))
        y = picture.y[2 * top : 2 * top + height, 2 * left : 2 * left + width]
        chroma = (slice(top, top + height // 2), slice(left, left + width // 2))
        yield frame_of(y, picture.u[chroma], picture.v[chroma])


def _bounce(place: npt.NDArray[np.float64], room: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Reflect a place at both ends, as often as needed, into 0…room."""
    turn = 2 * np.maximum(room, 1)
    folded = np.mod(place, turn)
    bounced: npt.NDArray[np.float64] = np.minimum(np.minimum(folded, turn - folded), room)
    return bounced

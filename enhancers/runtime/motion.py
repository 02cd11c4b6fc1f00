"""The codec's own motion vectors, and a field of pixels carried along them: what NEMO (MobiCom 2020) reuses.

FFmpeg's H.264 decoder says for each block of a frame where it was predicted from, in quarter pixels of the coded size,
but not from which of several reference frames: all are taken to be the frame before. Vectors come from the network;
whatever they say, only bytes of the field are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.int8]

BLOCK_PX = 8
"""Side of the blocks that carry one vector; H.264 predicts smaller ones at slow presets, of which the last counts."""
_SIDES_PX = (16, 8)
_QUARTERS = 4
_SHIFT_MAX = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """One frame's motion from the frame before it, by blocks of BLOCK_PX.

    right, down: int32 (rows, columns), where a block came from, quarter pixels. known: bool, False where the frame
    before does not say what is in the block (it was coded anew).
    """

    right: npt.NDArray[np.int32]
    down: npt.NDArray[np.int32]
    known: npt.NDArray[np.bool_]


def motion_of(picture: av.VideoFrame) -> Motion | None:
    """The motion of a decoded picture; None for a key frame, and when the decoder was not asked for it."""
    side_data = picture.side_data.get("MOTION_VECTORS")
    if side_data is None:
        return None
    vectors = side_data.to_ndarray()
    rows, columns = -(-picture.height // BLOCK_PX), -(-picture.width // BLOCK_PX)
    motion = Motion(
        right=np.zeros((rows, columns), np.int32),
        down=np.zeros((rows, columns), np.int32),
        known=np.zeros((rows, columns), np.bool_),
    )
    past = vectors[vectors["source"] < 0]
    width_px, height_px = past["w"].astype(np.int32), past["h"].astype(np.int32)
    left = (past["dst_x"] - width_px // 2) // BLOCK_PX
    top = (past["dst_y"] - height_px // 2) // BLOCK_PX
    whole = np.isin(width_px, _SIDES_PX) & np.isin(height_px, _SIDES_PX)
    for y in range(max(_SIDES_PX) // BLOCK_PX):
        for x in range(max(_SIDES_PX) // BLOCK_PX):
            within = whole & (width_px > x * BLOCK_PX) & (height_px > y * BLOCK_PX)
            inside = within & (top + y >= 0) & (top + y < rows) & (left + x >= 0) & (left + x < columns)
            place = (top[inside] + y) * columns + left[inside] + x
            motion.right.flat[place] = past["motion_x"][inside]
            motion.down.flat[place] = past["motion_y"][inside]
            motion.known.flat[place] = True
    return motion


class MotionFollower:
    """Gives frames their motion as long as each follows the one before it."""

    def __init__(self) -> None:
        self._next_pts: int | None = None

    def motion_to(self, picture: av.VideoFrame) -> Motion | None:
        """The picture's motion, when the one that it is relative to was the last one here."""
        pts, duration = picture.pts, picture.duration
        follows = pts is not None and pts == self._next_pts
        self._next_pts = pts + duration if pts is not None and duration else None
        return motion_of(picture) if follows else None


class MotionCompensator:
    """Moves fields of one size, `scale` times that of the coded frames, whole blocks at a time.

    A row of a block is one record, and records may begin at any byte: numpy then gathers a 720p field in 0.1 ms.
    field_px: width and height of the field, where rounding makes it another than `scale` says.
    """

    def __init__(self, width_px: int, height_px: int, scale: float, field_px: tuple[int, int] | None = None) -> None:
        self._scale = scale
        self._record = round(BLOCK_PX * scale)
        self._rows, columns = -(-height_px // BLOCK_PX) * self._record, -(-width_px // BLOCK_PX)
        self._columns = columns * self._record
        self._y = np.arange(self._rows, dtype=np.int32)[:, None]
        self._x = np.arange(columns, dtype=np.int32)[None] * self._record
        self._size = (field_px[1], field_px[0]) if field_px else (int(height_px * scale), int(width_px * scale))
        # One record more than the field: zeros, for blocks that nothing is known of.
        self._from, self._to = (np.zeros(self._rows * self._columns + self._record, np.int8) for _ in range(2))

    @property
    def field(self) -> Field:
        """int8 (height, width): a view of what was carried last."""
        height_px, width_px = self._size
        return self._whole(self._from)[:height_px, :width_px]

    def begin(self, field: npt.NDArray[np.integer[Any]]) -> None:
        """What is carried from now on, (height, width) within int8. Blocks may overlap its edge: beyond it is nothing.

        Else a picture would depend on what was carried before it began.
        """
        height_px, width_px = self._size
        whole = self._whole(self._from)
        whole[height_px:] = 0
        whole[:, width_px:] = 0
        whole[:height_px, :width_px] = field

    def _whole(self, flat: Field) -> Field:
        return flat[: -self._record].reshape(self._rows, self._columns)

    def carry(self, motion: Motion) -> None:
        """Move the field on by one frame. Blocks without known motion become zero."""
        down, right = (self._pixels(part) for part in (motion.down, motion.right))
        y = np.clip(np.repeat(down, self._record, axis=0) + self._y, 0, self._rows - 1)
        x = np.clip(np.repeat(right, self._record, axis=0) + self._x, 0, self._columns - self._record)
        place = y * self._columns + x
        if not motion.known.all():
            place[np.repeat(~motion.known, self._record, axis=0)] = len(self._from) - self._record
        kind = np.dtype((np.void, self._record))
        records = np.ndarray((len(self._from) - self._record + 1,), kind, self._from.data, 0, (1,))
        self._whole(self._to).view(kind)[...] = records[place]
        self._from, self._to = self._to, self._from

    def _pixels(self, quarters: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        bounded = np.clip(quarters, -_SHIFT_MAX, _SHIFT_MAX)
        pixels: npt.NDArray[np.int32] = np.rint(bounded * (self._scale / _QUARTERS)).astype(np.int32)
        return pixels

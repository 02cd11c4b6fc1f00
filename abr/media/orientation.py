"""How a coded picture is to be turned and mirrored, from the display matrix of its container."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from av.buffer import Buffer
    from av.video.frame import VideoFrame


def orientation_of(frame: VideoFrame) -> tuple[bool, int]:
    """Whether to mirror the picture left to right, and then the counterclockwise turn: 0, 90, 180 or 270 degrees.

    Display matrix: ISO/IEC 14496-12, 8.2.2, as FFmpeg's AV_FRAME_DATA_DISPLAYMATRIX has it.
    """
    data = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")
    return orientation_by(struct.unpack_from("=9i", bytes(data))) if data else (False, 0)


def orientation_by(matrix: tuple[int, ...]) -> tuple[bool, int]:
    """The same for the nine numbers a b u c d v x y w: a point (p, q) goes to (ap + cq, bp + dq), y downwards."""
    a, b, _, c, d, *_ = matrix
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return mirrored, round(-math.degrees(math.atan2(b, a)) / 90) * 90 % 360

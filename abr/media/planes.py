"""Planes of PyAV frames as numpy arrays, without copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Plane = npt.NDArray[np.uint8]


def plane_of(frame: VideoFrame, index: int) -> Plane:
    """A writeable view of one plane of an 8-bit planar frame: uint8 (H, W), rows padded as FFmpeg has them."""
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8, plane.height * plane.line_size)
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]


def luma_of(frame: VideoFrame) -> Plane:
    """A writeable view of the luma: uint8 (H, W)."""
    return plane_of(frame, 0)


def planes_of(frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """Writeable views of luma, blue and red difference."""
    return plane_of(frame, 0), plane_of(frame, 1), plane_of(frame, 2)

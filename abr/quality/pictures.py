"""Pictures as the meters take them: yuv420p planes, and the 8-bit RGB that some meters are defined on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]
Planes = tuple[Plane, Plane, Plane]
"""Y (H, W), U and V (⌈H/2⌉, ⌈W/2⌉) of one picture: uint8, BT.709, limited range."""
Rgb = npt.NDArray[np.uint8]
"""R, G and B of one picture, (3, H, W): uint8, full range, taken for sRGB."""
Box = tuple[int, int, int, int]

_LUMA_GAIN = np.float32(255 / 219)
_CHROMA_GAIN = 255 / 224
_RED, _BLUE = 0.2126, 0.0722
_GREEN = 1 - _RED - _BLUE
# Shares of Cb and Cr in R, G, B (ITU-R BT.709-6, items 3.2 and 3.4).
_SHARES = (
    (0.0, _CHROMA_GAIN * 2 * (1 - _RED)),
    (-_CHROMA_GAIN * 2 * (1 - _BLUE) * _BLUE / _GREEN, -_CHROMA_GAIN * 2 * (1 - _RED) * _RED / _GREEN),
    (_CHROMA_GAIN * 2 * (1 - _BLUE), 0.0),
)


def crop_planes(planes: Planes, box: Box) -> Planes:
    """Views of the planes inside `box` = x, y, width, height, all even."""
    x, y, width, height = box
    luma, *chroma = planes
    u, v = (plane[y // 2 : (y + height + 1) // 2, x // 2 : (x + width + 1) // 2] for plane in chroma)
    return luma[y : y + height, x : x + width], u, v


def rgb_of(planes: Planes) -> Rgb:
    """The picture in RGB. Chroma is interpolated linearly from where H.264 and HEVC sample it: left, between rows."""
    luma, u, v = planes
    height, width = luma.shape
    grey = (luma.astype(np.float32) - 16) * _LUMA_GAIN + np.float32(0.5)
    rgb = np.empty((3, height, width), dtype=np.uint8)
    cb, cr = (plane.astype(np.float32) - 128 for plane in (u, v))
    for plane, (of_cb, of_cr) in zip(rgb, _SHARES, strict=True):
        colour = _upsampled(np.float32(of_cb) * cb + np.float32(of_cr) * cr)[:height, :width]
        colour += grey
        plane[:] = np.clip(colour, 0, 255.5, out=colour)
    return rgb


def _upsampled(chroma: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Twice the rows and columns of (h, w)."""
    height, width = chroma.shape
    padded = np.pad(chroma, ((1, 1), (0, 1)), mode="edge")
    rows = np.empty((2 * height, width + 1), dtype=np.float32)
    near = padded[1:-1] * np.float32(0.75)
    rows[::2] = near + padded[:-2] * np.float32(0.25)
    rows[1::2] = near + padded[2:] * np.float32(0.25)
    full = np.empty((2 * height, 2 * width), dtype=np.float32)
    full[:, ::2] = rows[:, :-1]
    full[:, 1::2] = (rows[:, :-1] + rows[:, 1:]) * np.float32(0.5)
    return full

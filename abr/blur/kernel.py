"""Blur kernels, and the code of ten floats that says what a kernel has left of a picture.

A kernel is sampled on the pixels of the sharp picture, which has `scale` times the source's pixels along a side. It is
centred on its own array. Shrinking puts that centre `(scale − 1) / 2` sharp pixels beside the first pixel that a source
pixel covers: where swscale, browsers and pixel shuffle have it too. Another centre is a shift of half a source pixel,
and undoing a shift looks like a large gain.

The code is the modulation transfer function (MTF) at ten frequencies, told in cycles a source pixel: one code means the
same at every scale, is 0 to 1, and needs no table of principal components that would have to be shipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Code = tuple[float, ...]
"""CODE_FLOATS floats, 0–1: the MTF at FREQUENCIES."""

RADII = (0.15, 0.35)
"""Cycles a source pixel. The first tells wide blurs apart, of which nothing is left at the second."""
_DIRECTIONS = 5
FREQUENCIES: Floats = np.array(
    [
        (radius * math.cos(math.pi * step / _DIRECTIONS), radius * math.sin(math.pi * step / _DIRECTIONS))
        for radius in RADII
        for step in range(_DIRECTIONS)
    ]
)
"""(CODE_FLOATS, 2): x and y of each frequency. Half a turn is enough: kernels look alike from both sides."""
CODE_FLOATS = len(FREQUENCIES)

_REACH = 3.5
"""Standard deviations from a kernel's centre to its edge: a thousandth of a Gaussian lies beyond."""
_VARIANCE_MIN, _VARIANCE_MAX = 0.01, 9.0
_MTF_MIN = 1e-3
_BICUBIC_A = -0.6
"""swscale's own bicubic parameter."""
COMPARED_AT = 4
"""Scale at which kernels are compared, whatever scale they were made for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """An anisotropic Gaussian: its covariance, in source pixels squared."""

    xx: float
    xy: float
    yy: float

    @classmethod
    def of_axes(cls, major_px: float, minor_px: float, angle_rad: float) -> Blur:
        """By the standard deviations along its axes, in source pixels, and the angle of the first one to x."""
        cos, sin, long, short = math.cos(angle_rad), math.sin(angle_rad), major_px**2, minor_px**2
        return cls(
            xx=long * cos * cos + short * sin * sin,
            xy=(long - short) * cos * sin,
            yy=long * sin * sin + short * cos * cos,
        )

    @property
    def axes(self) -> tuple[float, float, float]:
        """Inverse of `of_axes`: major_px ≥ minor_px, angle_rad in [−π/2, π/2]."""
        half, spread = (self.xx + self.yy) / 2, math.hypot((self.xx - self.yy) / 2, self.xy)
        angle = math.atan2(2 * self.xy, self.xx - self.yy) / 2
        return math.sqrt(half + spread), math.sqrt(max(half - spread, 0.0)), angle

    def kernel(self, scale: int) -> Floats:
        """Sampled on sharp pixels: (n, n) with n even where `scale` is, sum 1, symmetric about its middle."""
        reach = math.ceil(_REACH * scale * math.sqrt(max(self.xx, self.yy)))
        offsets = _offsets(2 * reach + scale)
        x, y = offsets[None, :] / scale, offsets[:, None] / scale
        determinant = self.xx * self.yy - self.xy**2
        power = (self.yy * x * x - 2 * self.xy * x * y + self.xx * y * y) / determinant
        kernel: Floats = np.exp(-power / 2)
        kernel /= kernel.sum()
        return kernel


def bicubic_kernel(scale: int) -> Floats:
    """What swscale's bicubic filter does when it shrinks by `scale` (Keys 1981, a = −0.6): (4·scale, 4·scale)."""
    t, a = np.abs(_offsets(4 * scale)) / scale, _BICUBIC_A
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
    taps = np.where(t <= 1, near, far)
    taps /= taps.sum()
    return np.outer(taps, taps)


def code_of(kernel: Floats, scale: int) -> Code:
    """The MTF of a kernel (n, n) that is symmetric about its middle and sampled at `scale`."""
    offsets = _offsets(len(kernel)) / scale
    phase = 2 * np.pi * (FREQUENCIES[:, :1, None] * offsets[None, :] + FREQUENCIES[:, 1:, None] * offsets[:, None])
    return tuple(float(each) for each in np.clip((kernel * np.cos(phase)).sum((1, 2)), 0.0, 1.0))


def blur_of(code: Sequence[float]) -> Blur:
    """The Gaussian whose MTF, exp(−2π² fᵀΣf), is nearest: least squares of the logarithm, each weighing by its MTF."""
    mtf = np.clip(np.asarray(code, dtype=np.float64), _MTF_MIN, 1.0)
    x, y = FREQUENCIES.T
    rows = 2 * np.pi**2 * np.stack([x * x, 2 * x * y, y * y], axis=1)
    xx, xy, yy = np.linalg.lstsq(rows * mtf[:, None], -np.log(mtf) * mtf, rcond=None)[0]
    variances, turn = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    covariance = turn @ np.diag(np.clip(variances, _VARIANCE_MIN, _VARIANCE_MAX)) @ turn.T
    return Blur(xx=float(covariance[0, 0]), xy=float(covariance[0, 1]), yy=float(covariance[1, 1]))


def distance(one: Floats, other: Floats) -> float:
    """L1 between two kernels of one scale, each of sum 1, laid centre on centre: 0 (alike) to 2."""
    size = max(len(one), len(other))
    return float(np.abs(_padded(one, size) - _padded(other, size)).sum())


def code_distance(one: Sequence[float], other: Sequence[float]) -> float:
    """`distance` between the Gaussians of two codes."""
    return distance(*(blur_of(code).kernel(COMPARED_AT) for code in (one, other)))


def _offsets(size: int) -> Floats:
    """Distances of `size` pixels in a row from their middle."""
    return np.arange(size, dtype=np.float64) - (size - 1) / 2


def _padded(kernel: Floats, size: int) -> Floats:
    return np.pad(kernel, (size - len(kernel)) // 2)

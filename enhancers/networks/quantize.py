"""Eight bits: per-channel symmetric kernels, per-tensor unsigned activations calibrated on real frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
Int8s = npt.NDArray[np.int8]

LEVELS = 256
_CLIPS = np.linspace(0.3, 1.0, 36)
_SAMPLES_MAX = 1 << 16


def quantize(weight: Floats32, pair_max: int | None = None) -> tuple[Int8s, Floats32]:
    """Weight (O, I, 3, 3) → int8 kernel of the same shape and scale (O,), so that kernel · scale ≈ weight.

    pair_max: at the most one more than this is the sum of any two weights of one sign, where it is given.
    """
    peak = np.abs(weight).max(axis=(1, 2, 3)) / 127
    if pair_max is not None:
        peak = np.maximum(peak, np.maximum(_largest_two(weight), _largest_two(-weight)) / pair_max)
    scale = np.maximum(peak, 1e-12 / 127).astype(np.float32)
    return np.rint(weight / scale[:, None, None, None]).astype(np.int8), scale


def _largest_two(weight: Floats32) -> Floats32:
    """The sum of each output's two largest weights above 0."""
    ordered: Floats32 = np.sort(np.maximum(weight, 0).reshape(len(weight), -1), axis=1)
    sums: Floats32 = ordered[:, -2:].sum(axis=1)
    return sums


def dequantize(kernel: Int8s, scale: Floats32) -> Floats32:
    """The inverse of `quantize`, up to its rounding."""
    return kernel.astype(np.float32) * scale[:, None, None, None]


def best_range(values: Floats32) -> float:
    """The top of the range [0, top] whose 256 levels keep `values` (≥ 0, any shape) with the least squared error.

    Cutting rare peaks off costs less than coarser steps for everything else.
    """
    sample = values.reshape(-1)
    sample = sample[:: max(1, len(sample) // _SAMPLES_MAX)]
    peak = float(values.max())
    if peak <= 0:
        return 1.0
    tops = peak * _CLIPS
    steps = tops / (LEVELS - 1)
    errors = [np.mean((np.minimum(np.rint(sample / step), LEVELS - 1) * step - sample) ** 2) for step in steps]
    return float(tops[int(np.argmin(errors))])

"""A small network that tells a source's blur from the power of its luma at 90 frequencies, in numpy.

    patches with edges ─ − mean ÷ deviation ─ power at 90 frequencies ─ mean over all patches ─ logarithm ─ three layers

A code is the MTF at ten frequencies, and a picture's power falls with the square of it. Convolutions over the same
patches told how wide a blur is, and not in which direction. All patches count alike: weights that the network chose
itself (attention) collapsed in probes to a code that never changed, which looked perfectly consistent. Trained by
`python -m enhancers.restoration.train_estimator`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from abr.blur.kernel import CODE_FLOATS, Code
from abr.blur.patches import PATCH_PX, PATCHES_MAX, Luma, Patches, edge_patches

Floats32 = npt.NDArray[np.float32]

WEIGHTS_FILE = "estimator.npz"
PATCHES_MIN = 4
"""Fewer tell nothing."""
_RADII, _DIRECTIONS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.42, 0.48), 10
"""Cycles a pixel, and directions in half a turn, at which power is looked at."""
_POWER_MIN, _CONTRAST_MIN = 1e-4, 4.0
SPECTRUM = len(_RADII) * _DIRECTIONS
LAYERS = (("dense1", SPECTRUM, 64), ("dense2", 64, 64), ("dense3", 64, CODE_FLOATS))
"""Name, inputs, outputs; ReLU between them, a logistic function at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The code of one picture, and of each half of its patches: how much halves differ is the estimator's own noise."""

    code: Code
    halves: tuple[Code, Code]


class KernelEstimator:
    """Tells codes from pictures. tensors: `<layer>.weight` (outputs, inputs) and `<layer>.bias`."""

    def __init__(self, tensors: Mapping[str, Floats32]) -> None:
        self._layers = [(tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]) for name, _, _ in LAYERS]

    def estimate(self, luma: Luma) -> Estimate | None:
        """Of one picture, (H, W); None where it has too few edges to tell."""
        patches = edge_patches(luma, PATCHES_MAX)
        if len(patches) < PATCHES_MIN:
            return None
        power = power_of(patches)
        whole, first, second = (self._code(part) for part in (power, power[::2], power[1::2]))
        return Estimate(code=whole, halves=(first, second))

    def code(self, patches: Patches) -> Code:
        """The code of a set of patches."""
        return self._code(power_of(patches))

    def _code(self, power: Floats32) -> Code:
        x = log_mean(power)
        for weight, bias in self._layers[:-1]:
            x = np.maximum(x @ weight + bias, 0)
        weight, bias = self._layers[-1]
        return tuple(float(value) for value in 1 / (1 + np.exp(-(x @ weight + bias))))


def power_of(patches: Patches) -> Floats32:
    """Power of each patch at each frequency, so that contrast does not count: (N, SPECTRUM)."""
    values = patches.astype(np.float32)
    values -= values.mean((1, 2), keepdims=True)
    values /= values.std((1, 2), keepdims=True) + np.float32(_CONTRAST_MIN)
    even, odd = np.split(values.reshape(len(values), -1) @ _waves(), 2, axis=1)
    power: Floats32 = even**2 + odd**2
    return power


def log_mean(power: Floats32) -> Floats32:
    """What the layers take of patches' power (N, SPECTRUM): the logarithm of its mean, of about unit deviation."""
    scaled: Floats32 = np.log10(power.mean(0) + np.float32(_POWER_MIN)) + np.float32(1.5)
    return scaled


@cache
def _waves() -> Floats32:
    """(PATCH_PX², 2 · SPECTRUM): cosines, then sines, under a Hann window."""
    turns = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    radii = np.repeat(_RADII, _DIRECTIONS)
    fx, fy = radii * np.tile(np.cos(turns), len(_RADII)), radii * np.tile(np.sin(turns), len(_RADII))
    place = np.arange(PATCH_PX)
    phase = 2 * np.pi * (fx * place[None, :, None] + fy * place[:, None, None])
    hann = np.sin(np.pi * (place + 0.5) / PATCH_PX) ** 2
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=2) * (hann[:, None] * hann)[..., None] / PATCH_PX
    rows: Floats32 = waves.reshape(PATCH_PX**2, -1).astype(np.float32)
    return rows


def loads_weights(data: bytes) -> dict[str, Floats32]:
    """Tensors of a weights file: int8 kernels with a scale for each output, float32 biases."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        tensors = {name: stored[name] for name in stored.files}
    return {
        name: _scaled(tensor, tensors[f"{name.removesuffix('.weight')}.scale"]) if name.endswith(".weight") else tensor
        for name, tensor in tensors.items()
        if not name.endswith(".scale")
    }


def _scaled(kernel: npt.NDArray[np.int8], scale: Floats32) -> Floats32:
    values: Floats32 = kernel.astype(np.float32) * scale.reshape(-1, *[1] * (kernel.ndim - 1))
    return values


@cache
def shipped_estimator() -> KernelEstimator:
    """The one that comes with the program."""
    return KernelEstimator(loads_weights(_shipped()))


def shipped_digest() -> str:
    """The sha256 of its weights."""
    return hashlib.sha256(_shipped()).hexdigest()


def _shipped() -> bytes:
    return (files("abr.blur") / "weights" / WEIGHTS_FILE).read_bytes()

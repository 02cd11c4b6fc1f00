"""A small network that tells a source's blur from its luma, in numpy: four convolutions over patches with edges.

    patch − mean ÷ deviation ─ conv 5×5 ─ conv 3×3 ↓2 ─ conv 3×3 ↓2 ─ conv 3×3 ─ mean and RMS over all patches ─ 2 dense

All patches count alike: weights that the network chose itself (attention) collapsed in probes to a code that never
changed, which looked perfectly consistent. Trained by `python -m enhancers.restoration.train_estimator`.
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
from abr.blur.patches import PATCHES_MAX, Luma, Patches, edge_patches

Floats32 = npt.NDArray[np.float32]

WEIGHTS_FILE = "estimator.npz"
PATCHES_MIN = 4
"""Fewer tell nothing."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution without padding, with ReLU behind it."""

    name: str
    inputs: int
    outputs: int
    side_px: int
    stride: int


CONVOLUTIONS = (
    Convolution("conv1", 1, 24, 5, 1),
    Convolution("conv2", 24, 32, 3, 2),
    Convolution("conv3", 32, 48, 3, 2),
    Convolution("conv4", 48, 48, 3, 1),
)
DENSE = (("dense1", 96, 48), ("dense2", 48, CODE_FLOATS))
"""Name, inputs, outputs; ReLU between them, a logistic function at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The code of one picture, and of each half of its patches: how much halves differ is the estimator's own noise."""

    code: Code
    halves: tuple[Code, Code]


class KernelEstimator:
    """Tells codes from pictures. tensors: `<layer>.weight` (outputs, inputs[, rows, columns]) and `<layer>.bias`."""

    def __init__(self, tensors: Mapping[str, Floats32]) -> None:
        self._kernels = {
            conv.name: np.ascontiguousarray(
                tensors[f"{conv.name}.weight"].transpose(2, 3, 1, 0).reshape(-1, conv.outputs)
            )
            for conv in CONVOLUTIONS
        }
        self._dense = {name: np.ascontiguousarray(tensors[f"{name}.weight"].T) for name, _, _ in DENSE}
        names = [*self._kernels, *self._dense]
        self._biases = {name: tensors[f"{name}.bias"] for name in names}

    def estimate(self, luma: Luma) -> Estimate | None:
        """Of one picture, (H, W); None where it has too few edges to tell."""
        patches = edge_patches(luma, PATCHES_MAX)
        if len(patches) < PATCHES_MIN:
            return None
        features = self._features(patches)
        whole, first, second = (self._code(part) for part in (features, features[::2], features[1::2]))
        return Estimate(code=whole, halves=(first, second))

    def code(self, patches: Patches) -> Code:
        """The code of a set of patches."""
        return self._code(self._features(patches))

    def _features(self, patches: Patches) -> Floats32:
        """(N, 2, channels): mean and mean square of each patch."""
        x = normalise(patches)[..., None]
        for conv in CONVOLUTIONS:
            x = _convolve(x, conv, self._kernels[conv.name], self._biases[conv.name])
        return np.stack([x.mean((1, 2)), (x * x).mean((1, 2))], axis=1)

    def _code(self, features: Floats32) -> Code:
        mean, square = features.mean(0)
        x = np.concatenate([mean, np.sqrt(square + np.float32(1e-6))])
        for index, (name, _, _) in enumerate(DENSE):
            x = x @ self._dense[name] + self._biases[name]
            x = np.maximum(x, 0) if index == 0 else 1 / (1 + np.exp(-x))
        return tuple(float(value) for value in x)


def normalise(patches: Patches) -> Floats32:
    """Each patch less its mean, by its deviation and four code values, so that contrast does not count."""
    values = patches.astype(np.float32)
    values -= values.mean((1, 2), keepdims=True)
    scaled: Floats32 = values / (values.std((1, 2), keepdims=True) + np.float32(4))
    return scaled


def _convolve(x: Floats32, conv: Convolution, kernel: Floats32, bias: Floats32) -> Floats32:
    """x: (N, H, W, inputs) → (N, h, w, outputs)."""
    side = (conv.side_px, conv.side_px)
    windows = np.lib.stride_tricks.sliding_window_view(x, side, axis=(1, 2))[:, :: conv.stride, :: conv.stride]
    count, height, width = windows.shape[:3]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(count * height * width, -1)
    result: Floats32 = columns @ kernel
    result += bias
    np.maximum(result, 0, out=result)
    return result.reshape(count, height, width, conv.outputs)


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

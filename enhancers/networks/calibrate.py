"""Activation ranges of a network on real frames, for int8 inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from enhancers.networks.checkpoint import Weights
from enhancers.networks.chroma import Folded
from enhancers.networks.plain import Layer
from enhancers.networks.quantize import best_range


@torch.no_grad()
def calibrate(weights: Weights, low: npt.NDArray[np.uint8]) -> Weights:
    """`weights` with ranges measured on luma frames `low` (N, H, W), a handful of them."""
    x = torch.from_numpy(np.ascontiguousarray(low)).unsqueeze(1).float() / 255
    if weights.architecture.squeeze > 1:
        even = weights.architecture.squeeze
        x = functional.pixel_unshuffle(x[:, :, : low.shape[1] // even * even, : low.shape[2] // even * even], even)
    return replace(weights, ranges=weights.ranges | _ranges_of(weights, weights.architecture.layers, x))


@torch.no_grad()
def calibrate_chroma(weights: Weights, folded: Folded) -> Weights:
    """`weights` with ranges of their chroma part, measured on folded frames (N, inputs, rows, columns)."""
    assert weights.chroma is not None
    x = torch.from_numpy(folded).float() / 255
    return replace(weights, ranges=weights.ranges | _ranges_of(weights, weights.chroma.layers, x))


def _ranges_of(weights: Weights, layers: Sequence[Layer], x: torch.Tensor) -> dict[str, float]:
    tensors = {name: torch.from_numpy(tensor) for name, tensor in weights.tensors.items()}
    ranges = {}
    for layer in layers[:-1]:
        x = functional.relu(
            functional.conv2d(x, tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"], padding=1)
        )
        ranges[layer.name] = best_range(x.numpy())
    return ranges

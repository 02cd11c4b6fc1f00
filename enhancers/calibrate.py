"""Activation ranges of a network on real frames, for int8 inference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from enhancers.checkpoint import Weights
from enhancers.quantize import best_range


@torch.no_grad()
def calibrated(weights: Weights, low: npt.NDArray[np.uint8]) -> Weights:
    """`weights` with ranges measured on luma frames `low` (N, H, W), a handful of them."""
    tensors = {name: torch.from_numpy(tensor) for name, tensor in weights.tensors.items()}
    x = torch.from_numpy(np.ascontiguousarray(low)).unsqueeze(1).float() / 255
    if weights.architecture.squeeze > 1:
        even = weights.architecture.squeeze
        x = functional.pixel_unshuffle(x[:, :, : low.shape[1] // even * even, : low.shape[2] // even * even], even)
    ranges = {}
    for layer in weights.architecture.layers[:-1]:
        x = functional.relu(
            functional.conv2d(x, tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"], padding=1)
        )
        ranges[layer.name] = best_range(x.numpy())
    return replace(weights, ranges=ranges)

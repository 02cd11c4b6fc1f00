"""A last convolution without training: it is linear, so the best one over given features is solved for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from enhancers.networks.plain import KERNEL_PX, PlainArchitecture
from enhancers.training.patches import PatchBatch, Stack

_RIDGE = 1e-3


@torch.no_grad()
def solve_tail(
    network: PlainArchitecture, tensors: Mapping[str, Tensor], batch: PatchBatch
) -> tuple[dict[str, Tensor], float]:
    """Weight and bias of the tail over head and blocks as they are, and the mean squared error that is left.

    Solved on half of the patches, judged on the others. tensors: collapsed, of head and blocks.
    """
    x = functional.pixel_unshuffle(pictures(batch.low), network.squeeze)
    for layer in network.layers[:-1]:
        weight, bias = tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"]
        x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
    seen = _rows(functional.unfold(x, KERNEL_PX, padding=1))
    seen = torch.cat([seen, torch.ones(len(seen), 1, dtype=seen.dtype)], 1)
    missing = _rows(
        functional.pixel_unshuffle(pictures(batch.target) - pictures(batch.plain), network.shuffle).flatten(2)
    )
    half = len(seen) // 2
    gram = seen[:half].T @ seen[:half]
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    found = torch.linalg.solve(gram + ridge, seen[:half].T @ missing[:half])
    error = float((seen[half:] @ found - missing[half:]).square().mean())
    tail = network.tail
    kernel = found[:-1].T.reshape(tail.outputs, tail.inputs, KERNEL_PX, KERNEL_PX)
    return {f"{tail.name}.weight": kernel.float().contiguous(), f"{tail.name}.bias": found[-1].float()}, error


def pictures(stack: Stack) -> Tensor:
    """uint8 (B, H, W) → (B, 1, H, W) in 0–1."""
    return torch.from_numpy(stack).unsqueeze(1).float() / 255


def _rows(columns: Tensor) -> Tensor:
    """(N, values, positions) → (N · positions, values), in double precision."""
    return columns.transpose(1, 2).flatten(0, 1).double()

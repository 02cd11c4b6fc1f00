"""What a network takes of its budget, reckoned from its channels: time, bytes of weights, peak memory.

All three are smooth in the channels, so that a training can be told how to save. Memory is that of the operator that
needs most: only its channels feel it, until another one needs more (Liberis and Lane, arXiv 2110.08350, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from enhancers.deriving.budget import Budget
from enhancers.deriving.operator_latency import OperatorLatency
from enhancers.networks.plain import KERNEL_PX, PlainArchitecture

HEADER_BYTES, LAYER_BYTES = 240, 255
"""Of a weights file beside its tensors, at the most: once, and for each layer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostModel:
    """Costs of networks of the scale and grid of `like` on frames of `size_px` (width, height)."""

    like: PlainArchitecture
    size_px: tuple[int, int]
    latency: OperatorLatency

    def shares(self, channels: Sequence[Tensor], budget: Budget) -> Tensor:
        """(3,) of time, bytes and memory: what these channels (outputs of head and blocks) take, over the budget."""
        taken = self.latency.smooth_ms(channels), self.smooth_bytes(channels), self.smooth_peak_mb(channels)
        return torch.stack(
            [each / most for each, most in zip(taken, (budget.ms, budget.bytes, budget.peak_mb), strict=True)]
        )

    def fits(self, channels: Sequence[int], budget: Budget) -> bool:
        """Whether a network of these channels is within all of the budget, as far as can be reckoned."""
        return bool((self.shares(_numbers(channels), budget) <= 1).all())

    def smooth_bytes(self, channels: Sequence[Tensor]) -> Tensor:
        """Of the weights file in eight bits: kernels, a scale and a bias a channel, and what names them."""
        layers = list(pairwise(self._all(channels)))
        kernels = torch.stack([KERNEL_PX**2 * inputs * outputs + 8 * outputs for inputs, outputs in layers]).sum()
        return kernels + HEADER_BYTES + LAYER_BYTES * len(layers)

    def smooth_peak_mb(self, channels: Sequence[Tensor]) -> Tensor:
        """10⁶ bytes that the operator which needs most reads and writes, a byte a value."""
        columns, rows = (-(-size // self.like.squeeze) for size in self.size_px)
        operators = [before + after for before, after in pairwise(self._all(channels))]
        return torch.stack(operators).max() * columns * rows / 1e6

    def _all(self, channels: Sequence[Tensor]) -> list[Tensor]:
        return [torch.tensor(float(self.like.squeeze**2)), *channels, torch.tensor(float(self.like.shuffle**2))]


def _numbers(channels: Sequence[int]) -> list[Tensor]:
    return [torch.tensor(float(each)) for each in channels]

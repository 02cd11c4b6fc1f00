"""The `plain` family in torch: a training network whose branches are summed as weights, and the reference runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from enhancers.networks.chroma import ChromaArchitecture
from enhancers.networks.plain import KERNEL_PX, Layer, PlainArchitecture

EXPANSION = 2


class CollapsibleConv(nn.Module):
    """A 3×3 convolution that is trained as a sum of linear branches and always runs as one.

    Branches: 3×3, 1×1, identity, and 3×3 expanded then projected by 1×1. Linear maps with equal padding add up, so the
    weights are summed instead of the feature maps (SESR, MLSys 2022, section 3): training costs no more than plain
    training, and what is exported is bit for bit what was trained.
    """

    def __init__(self, layer: Layer, generator: torch.Generator, *, gain: float = 1.0) -> None:
        super().__init__()
        inner = EXPANSION * max(layer.inputs, layer.outputs)
        fan_in = KERNEL_PX**2 * layer.inputs

        def normal(deviation: float, *shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) * deviation)

        # Two equal random branches of half the variance each: He's variance in total, before the identity.
        self.full = normal(gain * fan_in**-0.5, layer.outputs, layer.inputs, KERNEL_PX, KERNEL_PX)
        self.point = nn.Parameter(torch.zeros(layer.outputs, layer.inputs, 1, 1))
        self.expand = normal(fan_in**-0.5, inner, layer.inputs, KERNEL_PX, KERNEL_PX)
        self.project = normal(gain * inner**-0.5, layer.outputs, inner)
        self.bias = nn.Parameter(torch.zeros(layer.outputs))

    def weight(self) -> Tensor:
        """The one kernel that all branches amount to: (outputs, inputs, 3, 3)."""
        expanded = (self.project @ self.expand.flatten(1)).view_as(self.full)
        return self.full + expanded + functional.pad(self.point, (1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W). Gives (N, outputs, H, W), as the collapsed convolution does."""
        return functional.conv2d(x, self.weight(), self.bias, padding=1)

    @torch.no_grad()
    def absorb(self, weight: Tensor, bias: Tensor) -> None:
        """Start from a trained kernel: the 3×3 branch is set so that all branches add up to it."""
        self.full.add_(weight - self.weight())
        self.bias.copy_(bias)


class PlainTrunk(nn.Module):
    """A trunk with a tail at each exit. `exits` are depths, ascending; the last is the whole depth."""

    def __init__(self, architecture: PlainArchitecture, exits: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.architecture = architecture
        self.exits = tuple(exits)
        self.head = CollapsibleConv(architecture.head, generator)
        self.blocks = nn.ModuleList(CollapsibleConv(layer, generator) for layer in architecture.blocks)
        self.tails = nn.ModuleDict(
            {str(depth): CollapsibleConv(architecture.at_exit(depth).tail, generator, gain=0.01) for depth in exits}
        )

    def forward(self, y: Tensor, exits: Sequence[int] | None = None) -> list[Tensor]:
        """y: (B, 1, H, W) in 0–1. Returns the residual of each of `exits`, (B, 1, r·H, r·W), in the same unit."""
        shuffle = self.architecture.shuffle
        x = functional.pixel_unshuffle(y, self.architecture.squeeze) if self.architecture.squeeze > 1 else y
        x = functional.relu(self.head(x))
        residuals = []
        for depth, block in enumerate(self.blocks, start=1):
            x = functional.relu(block(x))
            if depth in (exits or self.exits):
                residuals.append(functional.pixel_shuffle(self.tails[str(depth)](x), shuffle))
        return residuals

    def convolutions(self) -> dict[str, CollapsibleConv]:
        """Every convolution by its name in a checkpoint."""
        named: dict[str, nn.Module] = {"head": self.head}
        named |= {f"block{index}": block for index, block in enumerate(self.blocks, start=1)}
        named |= {f"tail{depth}": tail for depth, tail in self.tails.items()}
        return {name: module for name, module in named.items() if isinstance(module, CollapsibleConv)}

    @torch.no_grad()
    def collapse(self) -> dict[str, Tensor]:
        """`<layer>.weight` and `<layer>.bias` of every convolution: what the network is at inference."""
        named = self.convolutions()
        weights = {f"{name}.weight": conv.weight().detach().clone() for name, conv in named.items()}
        return weights | {f"{name}.bias": conv.bias.detach().clone() for name, conv in named.items()}

    def absorb(self, tensors: Mapping[str, Tensor]) -> None:
        """Start from collapsed weights; convolutions without any of their shape keep their random start."""
        for name, conv in self.convolutions().items():
            weight = tensors.get(f"{name}.weight")
            if weight is not None and weight.shape == conv.full.shape:
                conv.absorb(weight, tensors[f"{name}.bias"])


class ChromaTrunk(nn.Module):
    """A chroma part in training."""

    def __init__(self, architecture: ChromaArchitecture, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.architecture = architecture
        *inner, tail = architecture.layers
        self.layers = nn.ModuleList(
            [*(CollapsibleConv(layer, generator) for layer in inner), CollapsibleConv(tail, generator, gain=0.01)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs, rows, columns) folded planes ÷ 255, without their middle. Gives the residual cells."""
        *inner, tail = self.layers
        for layer in inner:
            x = functional.relu(layer(x))
        return cast(Tensor, tail(x))

    @torch.no_grad()
    def collapse(self) -> dict[str, Tensor]:
        """`<layer>.weight` and `<layer>.bias` of every convolution: what the network is at inference."""
        tensors = {}
        for layer, conv in self._named():
            tensors[f"{layer.name}.weight"] = conv.weight().detach().clone()
            tensors[f"{layer.name}.bias"] = conv.bias.detach().clone()
        return tensors

    def absorb(self, tensors: Mapping[str, Tensor]) -> None:
        """Start from collapsed weights of the same shapes."""
        for layer, conv in self._named():
            conv.absorb(tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"])

    def _named(self) -> list[tuple[Layer, CollapsibleConv]]:
        return [
            (layer, cast(CollapsibleConv, conv))
            for layer, conv in zip(self.architecture.layers, self.layers, strict=True)
        ]


def run_collapsed(architecture: PlainArchitecture, tensors: Mapping[str, Tensor], y: Tensor) -> Tensor:
    """The residual of one exit from collapsed weights: y (B, 1, H, W) in 0–1 → (B, 1, r·H, r·W)."""
    x = functional.pixel_unshuffle(y, architecture.squeeze) if architecture.squeeze > 1 else y
    return functional.pixel_shuffle(run_layers(architecture.layers, tensors, x), architecture.shuffle)


def run_layers(layers: Sequence[Layer], tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Collapsed convolutions one after the other, with ReLU between them: x (B, inputs, H, W) → (B, outputs, H, W)."""
    for layer in layers[:-1]:
        x = functional.relu(_convolve(layer, tensors, x))
    return _convolve(layers[-1], tensors, x)


def _convolve(layer: Layer, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.conv2d(x, tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"], padding=1)

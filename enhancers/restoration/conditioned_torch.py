"""Conditioned networks in torch, for training; `enhancers.restoration.conditioned` says what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from abr.blur.kernel import CODE_FLOATS
from enhancers.networks.plain import PlainArchitecture
from enhancers.networks.plain_torch import PlainTrunk

_HIDDEN = 32


class Modulation(nn.Module):
    """Codes (B, CODE_FLOATS) → γ and β of every layer. Begins as nothing: γ = β = 0."""

    def __init__(self, widths: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.widths = tuple(widths)
        self.hidden = nn.Linear(CODE_FLOATS, _HIDDEN)
        self.last = nn.Linear(_HIDDEN, 2 * sum(widths))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, code: Tensor) -> list[tuple[Tensor, Tensor]]:
        """γ and β, each (B, channels), of each layer in order."""
        hidden = functional.relu(self.hidden(4 * (code - 0.5)))
        parts = self.last(hidden).split([width for width in self.widths for _ in range(2)], dim=1)
        return list(zip(parts[::2], parts[1::2], strict=True))


class ConditionedTrunk(nn.Module):
    """A trunk of one exit whose head and blocks are modulated by the code."""

    def __init__(self, architecture: PlainArchitecture, seed: int = 0) -> None:
        super().__init__()
        self.architecture = architecture
        self.trunk = PlainTrunk(architecture, [architecture.depth], seed)
        self.modulation = Modulation([layer.outputs for layer in architecture.layers[:-1]], seed)

    def forward(self, y: Tensor, code: Tensor) -> Tensor:
        """y: (B, 1, H, W) in 0–1, code (B, CODE_FLOATS). The residual (B, 1, r·H, r·W), in the same unit."""
        squeeze, shuffle = self.architecture.squeeze, self.architecture.shuffle
        x = functional.pixel_unshuffle(y, squeeze) if squeeze > 1 else y
        for conv, (gain, shift) in zip([self.trunk.head, *self.trunk.blocks], self.modulation(code), strict=True):
            x = functional.relu(conv(x) * (1 + gain)[..., None, None] + shift[..., None, None])
        tail = self.trunk.tails[str(self.architecture.depth)]
        return functional.pixel_shuffle(cast(Tensor, tail(x)), shuffle)

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """Collapsed convolutions, and the modulation's layers as `film.<layer>.weight` and `.bias`."""
        own = {f"film.{name}": value.detach().clone() for name, value in self.modulation.state_dict().items()}
        return self.trunk.collapse() | own

"""A trunk whose channels have gates, and the training that closes those which its budget does not pay for.

After Liberis and Lane, "Differentiable Neural Network Pruning to Enable Smart Applications on Microcontrollers"
(arXiv 2110.08350): masks are made before the forward pass, what masks cost is a term of the loss, and gates learn much
faster than weights. A closed gate still feels what its channel would bring (a straight-through gradient), so that a
channel which turns out important comes back. What a channel is worth to the pictures is watched beside that: the square
of the loss' gradient by its mask (Molchanov et al., CVPR 2019, equation 8), a mean over the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from enhancers.deriving.budget import Budget
from enhancers.deriving.costs import CostModel
from enhancers.networks.plain import PlainArchitecture
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.training.optimizer import AdamW
from enhancers.training.patches import PatchBatch
from enhancers.training.trainer import LumaRun, TrainingSettings

GATE_RATE = 30.0
"""Gates learn so many times as fast as weights."""
_PRESSURE = 2.0
"""Of a budget exceeded twofold, over the loss of pictures, from the middle of the training on."""
_MEMORY = 0.95
"""Of what channels were worth, from step to step."""
_OPEN, _SPREAD = 1.5, 1.0
"""How far gates are open at first: in the middle, and over a standard deviation of the channels' weights."""


class GatedTrunk(PlainTrunk):
    """A trunk of one exit; `gates[i]` are those of the outputs of the head (0) and of each block, open above 0."""

    def __init__(self, architecture: PlainArchitecture, seed: int = 0) -> None:
        super().__init__(architecture, (architecture.depth,), seed)
        self.gates = nn.ParameterList(torch.full((each,), _OPEN) for each in architecture.channels)
        self.masks: list[Tensor] = []
        """Of the last forward pass; their gradients are those of the loss of pictures alone."""

    @torch.no_grad()
    def open_by_weight(self) -> None:
        """Channels of large weights, of their own and of those that read them, begin wider open."""
        inner, readers = [self.head, *self.blocks], [*self.blocks, self.tails[str(self.architecture.depth)]]
        for gate, conv, reader in zip(self.gates, inner, readers, strict=True):
            weights = _norms(conv.weight()) * _norms(reader.weight().transpose(0, 1))
            gate.copy_(_OPEN + _SPREAD * (weights - weights.mean()) / weights.std().clamp_min(1e-9))

    def forward(self, y: Tensor, exits: Sequence[int] | None = None) -> list[Tensor]:
        """See PlainTrunk; the channels of closed gates are 0."""
        self.masks = [_mask(gate) for gate in self.gates]
        for mask in self.masks:
            if mask.requires_grad:
                mask.retain_grad()
        x = functional.pixel_unshuffle(y, self.architecture.squeeze) if self.architecture.squeeze > 1 else y
        for conv, mask in zip((self.head, *self.blocks), self.masks, strict=True):
            x = functional.relu(conv(x)) * mask.to(x.dtype)[:, None, None]
        tail = self.tails[str(self.architecture.depth)]
        return [functional.pixel_shuffle(tail(x), self.architecture.shuffle)]

    def open_channels(self) -> list[Tensor]:
        """How many gates of each layer are open, in numbers that gates can learn from."""
        return [_mask(gate).sum() for gate in self.gates]


class GateRun(LumaRun):
    """Trains weights and gates together; what exceeds the budget counts more and more towards the end."""

    def __init__(
        self, trunk: GatedTrunk, recipe: TrainingSettings, device: str, costs: CostModel, budget: Budget
    ) -> None:
        super().__init__(trunk, recipe, device)
        self._gated, self._costs, self._budget = trunk, costs, budget
        self._importance = [torch.zeros_like(gate) for gate in trunk.gates]
        self.optimizer = AdamW(self.parameters, recipe.rate, fast=list(trunk.gates), fast_times=GATE_RATE)

    def step(self, batch: PatchBatch) -> Tensor:
        """See TrainingRun."""
        reported = super().step(batch)
        for importance, mask in zip(self._importance, self._gated.masks, strict=True):
            if mask.grad is not None:
                importance.lerp_(mask.grad.square(), 1 - _MEMORY)
        return reported

    def worth(self) -> list[Tensor]:
        """Of each channel of head and blocks, to the pictures; less where its gate has closed."""
        gates = [torch.sigmoid(gate.detach()) for gate in self._gated.gates]
        return [importance * gate for importance, gate in zip(self._importance, gates, strict=True)]

    def loss(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """See TrainingRun."""
        loss, reported = super().loss(batch)
        over = functional.relu(self._costs.shares(self._gated.open_channels(), self._budget) - 1).sum()
        progress = self.recipe.progress(self.steps, self.seconds)
        return loss + _PRESSURE * float(loss.detach()) * min(1.0, 2 * progress) * over, reported


def _norms(weight: Tensor) -> Tensor:
    """Of each output's kernel."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=(1, 2, 3))
    return norms


def _mask(gate: Tensor) -> Tensor:
    """1 where a gate is open, else 0; its gradient is that of a sigmoid."""
    soft = torch.sigmoid(gate)
    return (gate > 0).float() + soft - soft.detach()

"""Training of our networks as loads: the numbers that memory, time and bytes are reckoned from."""

from __future__ import annotations

from abr.core.enhancement import Tier
from abr.federation.costs import TrainingLoad
from enhancers.federation.local_training import PATCH_PX
from enhancers.federation.tuned_network import count_values
from enhancers.networks import catalog
from enhancers.networks.plain import KERNEL_PX, Layer, PlainArchitecture
from enhancers.networks.plain_torch import EXPANSION

_HALF_BYTES, _FLOAT_BYTES = 2, 4
_KEPT_TIMES = 2
"""Of each layer's result: what comes in, and its gradient on the way back."""
_PICTURES = 12
"""Of output size, in 32-bit floats: those that the losses look at, and what they keep of them."""


def load_of(scale: float, tier: Tier, *, batch: int, steps: int, frames: int, size_px: tuple[int, int]) -> TrainingLoad:
    """One round of tuning that network. frames: of this size, that are learnt from."""
    architecture = catalog.architecture(scale, tier)
    shown = round((PATCH_PX * architecture.squeeze * scale) ** 2)
    width, height = size_px
    return TrainingLoad(
        name=f"{tier} (×{scale:g})",
        trained=sum(_trained(layer) for layer in architecture.layers),
        values=count_values(architecture),
        macs=PATCH_PX**2 * sum(layer.macs for layer in architecture.layers),
        outputs=shown,
        activation_bytes=_activations(architecture) + _PICTURES * _FLOAT_BYTES * shown,
        batch=batch,
        steps=steps,
        data_bytes=round(frames * width * height * (2 + 1 / scale**2)),
    )


def _activations(architecture: PlainArchitecture) -> int:
    return _KEPT_TIMES * _HALF_BYTES * PATCH_PX**2 * sum(layer.outputs for layer in architecture.layers)


def _trained(layer: Layer) -> int:
    """With the branches that a layer is trained as (`CollapsibleConv`)."""
    inner = EXPANSION * max(layer.inputs, layer.outputs)
    kernel = KERNEL_PX**2
    return (
        (kernel + 1) * layer.inputs * layer.outputs
        + kernel * inner * layer.inputs
        + layer.outputs * inner
        + layer.outputs
    )

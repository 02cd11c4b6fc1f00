"""The kernel estimator in torch, for training; `abr.blur.estimator` runs it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from abr.blur.estimator import LAYERS


class EstimatorNet(nn.Module):
    """Logarithms of mean power (B, SPECTRUM) in, codes (B, CODE_FLOATS) out."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleDict({name: nn.Linear(inputs, outputs) for name, inputs, outputs in LAYERS})

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        *inner, last = self.layers.values()
        for layer in inner:
            x = functional.relu(layer(x))
        return torch.sigmoid(cast(Tensor, last(x)))

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """`<layer>.weight` and `<layer>.bias`, as the runtime takes them."""
        return {
            f"{name}.{part}": getattr(layer, part).detach().float().numpy()
            for name, layer in self.layers.items()
            for part in ("weight", "bias")
        }


def dumps_weights(tensors: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """The weights file that `abr.blur.estimator.loads_weights` reads: int8 with a scale for each output."""
    stored: dict[str, npt.NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        if name.endswith(".weight"):
            rows = tensor.reshape(len(tensor), -1)
            scale = (np.abs(rows).max(axis=1).clip(min=1e-12) / 127).astype(np.float32)
            stored[name] = np.rint(rows / scale[:, None]).astype(np.int8).reshape(tensor.shape)
            stored[f"{name.removesuffix('.weight')}.scale"] = scale
        else:
            stored[name] = tensor
    file = io.BytesIO()
    np.savez(file, **stored)  # type: ignore[arg-type]
    return file.getvalue()

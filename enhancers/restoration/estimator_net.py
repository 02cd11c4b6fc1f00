"""The kernel estimator in torch, for training; `abr.blur.estimator` runs it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from abr.blur.estimator import CONVOLUTIONS, DENSE


class EstimatorNet(nn.Module):
    """Sets of normalised patches (B, P, 32, 32) in, codes (B, CODE_FLOATS) out."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolutions = nn.ModuleDict(
            {each.name: nn.Conv2d(each.inputs, each.outputs, each.side_px, each.stride) for each in CONVOLUTIONS}
        )
        self.dense = nn.ModuleDict({name: nn.Linear(inputs, outputs) for name, inputs, outputs in DENSE})

    def forward(self, patches: Tensor) -> Tensor:
        """See the class."""
        x = patches.flatten(0, 1).unsqueeze(1)
        for conv in self.convolutions.values():
            x = functional.relu(conv(x))
        x = x.float()
        mean, square = (part.mean((2, 3)).view(*patches.shape[:2], -1).mean(1) for part in (x, x * x))
        x = torch.cat([mean, (square + 1e-6).sqrt()], dim=1)
        hidden, last = self.dense.values()
        return torch.sigmoid(last(functional.relu(hidden(x))))

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """`<layer>.weight` and `<layer>.bias`, as the runtime takes them."""
        layers = {**self.convolutions, **self.dense}
        return {
            f"{name}.{part}": getattr(layer, part).detach().float().numpy()
            for name, layer in layers.items()
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

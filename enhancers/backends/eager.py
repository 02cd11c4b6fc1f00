"""The reference backend: torch, eager, float32. Needs no export."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from enhancers.architectures.plain_torch import run
from enhancers.backends.residual import RESIDUAL_MAX, RESIDUAL_MIN
from enhancers.checkpoint import Weights
from enhancers.frames import Plane


class TorchNetwork:
    """Runs collapsed weights layer by layer."""

    def __init__(self, weights: Weights, threads: int) -> None:
        self._architecture = weights.architecture
        self._tensors = {name: torch.from_numpy(tensor) for name, tensor in weights.tensors.items()}
        self._threads = threads

    @torch.inference_mode()
    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """See LumaNetwork."""
        torch.set_num_threads(self._threads)
        height, width = plain.shape
        x = torch.from_numpy(y.astype(np.float32)[None, None]) / 255
        even = self._architecture.squeeze
        x = functional.pad(x, (0, -x.shape[3] % even, 0, -x.shape[2] % even), mode="replicate")
        residual = run(self._architecture, self._tensors, x)[0, 0, :height, :width] * 255
        whole = residual.round_().clamp_(RESIDUAL_MIN, RESIDUAL_MAX).to(torch.int16)
        lifted: Plane = (torch.from_numpy(plain.astype(np.int16)) + whole).clamp_(0, 255).to(torch.uint8).numpy()
        if out is None:
            return lifted
        out[:] = lifted
        return out

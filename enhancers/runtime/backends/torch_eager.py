"""The torch backends: eager float32 on the CPU, which is the reference, and faster ones that round more."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from abr.media.planes import Plane
from enhancers.networks.checkpoint import Weights
from enhancers.networks.chroma import Folded
from enhancers.networks.plain_torch import run_collapsed, run_layers
from enhancers.runtime.backends.residual import RESIDUAL_MAX, RESIDUAL_MIN, Residuals

_GRAPH_WARM_UP = 3


class TorchNetwork:
    """Runs collapsed weights layer by layer.

    precision: what it computes in. Other than float32 it lays pictures out channels last, as fast kernels want them.
    """

    def __init__(
        self, weights: Weights, threads: int, *, precision: torch.dtype = torch.float32, device: str = "cpu"
    ) -> None:
        self._architecture = weights.architecture
        self._precision, self._device, self._threads = precision, device, threads
        self._layout = torch.contiguous_format if precision == torch.float32 else torch.channels_last
        self._tensors = {
            name: torch.from_numpy(tensor).to(
                device, precision, memory_format=self._layout if tensor.ndim == 4 else None
            )
            for name, tensor in weights.tensors.items()
        }

    @torch.inference_mode()
    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """See LumaNetwork."""
        torch.set_num_threads(self._threads)
        lifted = self._lifted(torch.tensor(y), torch.tensor(plain)).cpu().numpy()
        if out is None:
            return lifted
        out[:] = lifted
        return out

    def _lifted(self, y: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
        """uint8 (H, W) and (r·H, r·W) → uint8 (r·H, r·W)."""
        height, width = plain.shape
        even = self._architecture.squeeze
        x = y.to(self._precision)[None, None] / 255
        x = functional.pad(x, (0, -x.shape[3] % even, 0, -x.shape[2] % even), mode="replicate")
        residual = run_collapsed(self._architecture, self._tensors, x.contiguous(memory_format=self._layout))
        whole = (residual[0, 0, :height, :width].float() * 255).round_().clamp_(RESIDUAL_MIN, RESIDUAL_MAX)
        return (plain.to(torch.int16) + whole.to(torch.int16)).clamp_(0, 255).to(torch.uint8)


class TorchChroma:
    """Runs a chroma part layer by layer."""

    def __init__(
        self, weights: Weights, threads: int, *, precision: torch.dtype = torch.float32, device: str = "cpu"
    ) -> None:
        assert weights.chroma is not None
        self._layers = weights.chroma.layers
        self._precision, self._device, self._threads = precision, device, threads
        self._tensors = {
            name: torch.from_numpy(tensor).to(device, precision) for name, tensor in weights.tensors.items()
        }

    @torch.inference_mode()
    def run(self, folded: Folded) -> Residuals:
        """See ChromaNetwork."""
        torch.set_num_threads(self._threads)
        x = torch.from_numpy(folded)[None].to(self._device, self._precision) / 255
        cells = run_layers(self._layers, self._tensors, x)[0].float() * 255
        whole = cells.round_().clamp_(RESIDUAL_MIN, RESIDUAL_MAX).to(torch.int8)
        return whole.permute(1, 2, 0).contiguous().cpu().numpy()


class CudaNetwork(TorchNetwork):
    """Half precision on the first GPU, recorded once as a CUDA graph: one launch a frame instead of one a layer."""

    def __init__(self, weights: Weights, width_px: int, height_px: int) -> None:
        super().__init__(weights, 1, precision=torch.float16, device="cuda")
        shown_px = weights.architecture.shown_px(width_px, height_px)
        self._y = torch.zeros(height_px, width_px, dtype=torch.uint8, device="cuda")
        self._plain = torch.zeros(shown_px[1], shown_px[0], dtype=torch.uint8, device="cuda")
        self._shown, self._replay = self._recorded()

    @torch.inference_mode()
    def _recorded(self) -> tuple[torch.Tensor, Callable[[], None]]:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries choose and allocate before anything may be recorded
            for _ in range(_GRAPH_WARM_UP):
                self._lifted(self._y, self._plain)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            shown = self._lifted(self._y, self._plain)
        return shown, graph.replay

    @torch.inference_mode()
    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """See LumaNetwork."""
        self._y.copy_(torch.tensor(y))
        self._plain.copy_(torch.tensor(plain))
        self._replay()
        lifted: Plane = self._shown.cpu().numpy()
        if out is None:
            return lifted
        out[:] = lifted
        return out

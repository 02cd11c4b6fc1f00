"""Ways to run a network on this machine. All take and give uint8 luma; the device profile says which is fastest.

Each runs chroma parts as well, from folded planes to residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from abr.errors import FormatError
from abr.media.planes import Plane
from abr.registry import Registry
from enhancers.networks.checkpoint import Weights
from enhancers.networks.chroma import Folded
from enhancers.networks.imported import ImportedNetwork
from enhancers.runtime.backends.residual import Residuals


class LumaNetwork(Protocol):
    """One network, opened for one frame size, used by one thread at a time."""

    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """y: uint8 (H, W) as decoded. plain: uint8 (r·H, r·W), y by the display scaler. Returns the lifted luma.

        The result is of the shape of `plain`: `out`, which may be `plain` itself, or else a new plane.
        """
        ...


class ChromaNetwork(Protocol):
    """One chroma part, opened for one size of its grid, used by one thread at a time."""

    def run(self, folded: Folded) -> Residuals:
        """folded: as `fold_planes` gives it. Returns cells (rows, columns, 2·shuffle²), valid until it is called again.

        A cell holds what is added to its samples of u and then of v, in whole code values.
        """
        ...


AnyNetwork = Weights | ImportedNetwork
Opener = Callable[[AnyNetwork, int, int, int], LumaNetwork]
"""(weights, width, height of the input, threads) → an opened network for the weights' deepest exit.

Raises FormatError for what this backend does not run.
"""

BACKENDS: Registry[Opener] = Registry("backend")
_PACKAGES = {
    "torch": ("torch",),
    "torch-bf16": ("torch",),
    "onnxruntime": ("onnx", "onnxruntime"),
    "cuda": ("torch",),
}
"""What backends need beside the packages of the player."""


@BACKENDS.register("openvino-int8")
def _openvino_int8(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.runtime.backends.openvino import OpenVinoNetwork

    return OpenVinoNetwork(_ours(weights, "openvino-int8"), width_px, height_px, threads, precision="int8")


@BACKENDS.register("openvino-bf16")
def _openvino_bf16(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    return _openvino(weights, width_px, height_px, threads, "bf16")


@BACKENDS.register("openvino-fp32")
def _openvino_fp32(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    return _openvino(weights, width_px, height_px, threads, "fp32")


@BACKENDS.register("torch")
def _torch(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.runtime.backends.torch_eager import TorchNetwork

    return TorchNetwork(_ours(weights, "torch"), threads)


@BACKENDS.register("torch-bf16")
def _torch_bf16(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    import torch

    from enhancers.runtime.backends.torch_eager import TorchNetwork

    return TorchNetwork(_ours(weights, "torch-bf16"), threads, precision=torch.bfloat16)


@BACKENDS.register("onnxruntime")
def _onnxruntime(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.runtime.backends.onnx_runtime import OnnxRuntimeNetwork

    return OnnxRuntimeNetwork(_ours(weights, "onnxruntime"), threads)


@BACKENDS.register("cuda")
def _cuda(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.runtime.backends.torch_eager import CudaNetwork

    return CudaNetwork(_ours(weights, "cuda"), width_px, height_px)


def open_chroma(backend: str, weights: Weights, grid: tuple[int, int], threads: int) -> ChromaNetwork:
    """The chroma part of `weights` on a backend that runs our networks, for (columns, rows) of its grid.

    Raises FormatError for weights that were never calibrated, if the backend needs it.
    """
    kind, _, precision = backend.partition("-")
    if kind == "openvino":
        from enhancers.runtime.backends.openvino import OpenVinoChroma

        return OpenVinoChroma(weights, grid, threads, precision=precision)
    if kind == "onnxruntime":
        from enhancers.runtime.backends.onnx_runtime import OnnxRuntimeChroma

        return OnnxRuntimeChroma(weights, threads)
    import torch

    from enhancers.runtime.backends.torch_eager import TorchChroma

    if kind == "cuda":
        return TorchChroma(weights, 1, precision=torch.float16, device="cuda")
    return TorchChroma(weights, threads, precision=torch.bfloat16 if precision == "bf16" else torch.float32)


def installed() -> tuple[str, ...]:
    """The backends that have their packages here."""
    return tuple(name for name in BACKENDS if all(find_spec(package) for package in _PACKAGES.get(name, ())))


def runnable() -> tuple[str, ...]:
    """The installed backends that this machine has the processor for."""
    return tuple(name for name in installed() if name != "cuda" or _has_cuda())


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _openvino(weights: AnyNetwork, width_px: int, height_px: int, threads: int, precision: str) -> LumaNetwork:
    if isinstance(weights, ImportedNetwork):
        from enhancers.runtime.backends.openvino_imported import OpenVinoImportedNetwork

        return OpenVinoImportedNetwork(weights, width_px, height_px, threads, precision=precision)
    from enhancers.runtime.backends.openvino import OpenVinoNetwork

    return OpenVinoNetwork(weights, width_px, height_px, threads, precision=precision)


def _ours(weights: AnyNetwork, backend: str) -> Weights:
    if isinstance(weights, ImportedNetwork):
        raise FormatError(f"{backend} runs networks of the plain family only, not {weights.architecture}.")
    return weights

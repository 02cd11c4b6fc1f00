"""Ways to run a network on this machine. All take and give uint8 luma; the device profile says which is fastest."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from abr.errors import FormatError
from abr.registry import Registry
from enhancers.checkpoint import Weights
from enhancers.foreign import Foreign
from enhancers.frames import Plane


class LumaNetwork(Protocol):
    """One network, opened for one frame size, used by one thread at a time."""

    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """y: uint8 (H, W) as decoded. plain: uint8 (r·H, r·W), y by the display scaler. Returns the lifted luma.

        The result is of the shape of `plain`: `out`, which may be `plain` itself, or else a new plane.
        """
        ...


AnyNetwork = Weights | Foreign
Opener = Callable[[AnyNetwork, int, int, int], LumaNetwork]
"""(weights, width, height of the input, threads) → an opened network for the weights' deepest exit.

Raises FormatError for what this backend does not run.
"""

BACKENDS: Registry[Opener] = Registry("backend")


@BACKENDS.register("openvino-int8")
def _openvino_int8(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.backends.openvino import OpenVinoNetwork

    return OpenVinoNetwork(_ours(weights, "openvino-int8"), width_px, height_px, threads, precision="int8")


@BACKENDS.register("openvino-bf16")
def _openvino_bf16(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    return _openvino(weights, width_px, height_px, threads, "bf16")


@BACKENDS.register("openvino-fp32")
def _openvino_fp32(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    return _openvino(weights, width_px, height_px, threads, "fp32")


@BACKENDS.register("torch")
def _torch(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.backends.eager import TorchNetwork

    return TorchNetwork(_ours(weights, "torch"), threads)


@BACKENDS.register("torch-bf16")
def _torch_bf16(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    import torch

    from enhancers.backends.eager import TorchNetwork

    return TorchNetwork(_ours(weights, "torch-bf16"), threads, precision=torch.bfloat16)


@BACKENDS.register("onnxruntime")
def _onnxruntime(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.backends.onnx_runtime import OnnxRuntimeNetwork

    return OnnxRuntimeNetwork(_ours(weights, "onnxruntime"), threads)


@BACKENDS.register("cuda")
def _cuda(weights: AnyNetwork, width_px: int, height_px: int, threads: int) -> LumaNetwork:
    from enhancers.backends.eager import CudaNetwork

    return CudaNetwork(_ours(weights, "cuda"), width_px, height_px)


def runnable() -> tuple[str, ...]:
    """The backends that this machine has the packages and the processor for."""

    def is_there(name: str) -> bool:
        if name == "onnxruntime":
            return all(find_spec(package) for package in ("onnx", "onnxruntime"))
        if name == "cuda":
            import torch

            return torch.cuda.is_available()
        return True

    return tuple(name for name in BACKENDS if is_there(name))


def _openvino(weights: AnyNetwork, width_px: int, height_px: int, threads: int, precision: str) -> LumaNetwork:
    if isinstance(weights, Foreign):
        from enhancers.backends.foreign import ForeignNetwork

        return ForeignNetwork(weights, width_px, height_px, threads, precision=precision)
    from enhancers.backends.openvino import OpenVinoNetwork

    return OpenVinoNetwork(weights, width_px, height_px, threads, precision=precision)


def _ours(weights: AnyNetwork, backend: str) -> Weights:
    if isinstance(weights, Foreign):
        raise FormatError(f"{backend} runs networks of the plain family only, not {weights.architecture}.")
    return weights

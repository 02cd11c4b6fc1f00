"""OpenVINO on the CPU: luma in, the residual in whole code values out, in a graph that this module builds itself.

In int8 each activation passes a FakeQuantize and each kernel is stored as int8 with a scale per output channel, the
form that OpenVINO's low-precision transformations turn into integer convolutions, each of which rounds its own output.
The graph is convolutions only: folding is the first one's stride, and unfolding is left to `residual`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import openvino
import openvino.opset13 as op

from abr.errors import FormatError
from abr.media.planes import Plane
from enhancers.networks.checkpoint import Weights
from enhancers.networks.chroma import Folded
from enhancers.networks.plain import KERNEL_PX, Layer
from enhancers.networks.quantize import LEVELS, Floats32, quantize
from enhancers.runtime.backends.residual import RESIDUAL_MAX, RESIDUAL_MIN, Residuals, Shuffle, Sum

_PRECISION_HINTS = {"int8": "f32", "fp32": "f32", "bf16": "bf16"}
_TENSOR_MAX = 1 << 28
"""Elements of any tensor between two operations."""
_PAIR_MAX = 127
"""255 × 128 is the last product of luma that 16 bits hold."""


class OpenVinoNetwork:
    """A compiled network. `precision`: int8 (needs calibrated ranges), bf16 or fp32."""

    def __init__(self, weights: Weights, width_px: int, height_px: int, threads: int, *, precision: str) -> None:
        if precision == "int8" and not weights.ranges:
            raise FormatError(f"The weights of {weights.architecture} were never calibrated for int8.")
        model = build_graph(weights, width_px, height_px, int8=precision == "int8")
        self._request = compile_model(model, threads, precision).create_infer_request()
        _, rows, columns, _ = model.output(0).shape
        shown_px = weights.architecture.shown_px(width_px, height_px)
        self._shuffle = Shuffle(rows, columns, weights.architecture.shuffle, *shown_px)
        self._sum = OpenVinoSum(*shown_px, threads)

    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """See LumaNetwork."""
        outputs = self._request.infer([y[None, None]], share_inputs=True, share_outputs=True)
        shown = np.empty_like(plain) if out is None else out
        self._sum(plain, self._shuffle(outputs[0][0]), shown)
        return shown


class OpenVinoChroma:
    """A compiled chroma part. `precision`: as of OpenVinoNetwork."""

    def __init__(self, weights: Weights, grid: tuple[int, int], threads: int, *, precision: str) -> None:
        model = build_chroma_graph(weights, *grid, int8=precision == "int8")
        self._request = compile_model(model, threads, precision).create_infer_request()

    def run(self, folded: Folded) -> Residuals:
        """See ChromaNetwork."""
        cells: Residuals = self._request.infer([folded[None]], share_inputs=True, share_outputs=True)[0][0]
        return cells


class OpenVinoSum:
    """An `Adder` in one pass over the memory instead of three, where no plane has gaps between its lines."""

    def __init__(self, width_px: int, height_px: int, threads: int) -> None:
        plain = op.parameter([height_px, width_px], np.uint8)
        residual = op.parameter([height_px, width_px], np.int8)
        share = op.parameter([1, 1], np.float32)
        added = op.round(op.multiply(op.convert(residual, "f32"), share), "half_to_even")
        total = op.clamp(op.add(op.convert(plain, "f32"), added), 0, 255)
        model = openvino.Model([op.convert(total, "u8")], [plain, residual, share])
        self._request = compile_model(model, threads, "fp32").create_infer_request()
        self._with_gaps = Sum(width_px, height_px)

    def __call__(self, plain: Plane, residual: Residuals, out: Plane, share: float = 1.0) -> None:
        """See Adder."""
        if not all(plane.flags.c_contiguous for plane in (plain, residual, out)):
            self._with_gaps(plain, residual, out, share)
            return
        self._request.set_output_tensor(openvino.Tensor(out, shared_memory=True))
        self._request.infer([plain, residual, np.full((1, 1), share, np.float32)], share_inputs=True)


@cache
def _core() -> Any:
    return openvino.Core()


@cache
def sums_saturate() -> bool:
    """Whether this processor cuts off what two taps of a kernel over luma add up to.

    AVX-512 without VNNI multiplies eight bits into signed 16-bit sums of two products, and OpenVINO puts taps of a
    kernel with one input there. White under a kernel of equal weights must come out white.
    """
    white = np.full((1, 1, 16, 32), 255, np.uint8)
    y = op.parameter(list(white.shape), np.uint8)
    even = np.full((32, 1, KERNEL_PX, KERNEL_PX), 1 / KERNEL_PX**2, np.float32)
    x = op.convolution(
        quantize_to_levels(op.convert(y, "f32"), 0.0, 255.0), _int8_kernel(even, 1.0), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    model = openvino.Model([quantize_to_levels(op.relu(x), 0.0, 255.0)], [y], "white")
    shown = compile_model(model, 1, "int8")([white])[0]
    return bool(shown.min() < 254)


def read_onnx(data: bytes) -> Any:
    """A checked ONNX file (`enhancers.runtime.onnx_check`) as a model. Raises FormatError if OpenVINO cannot run it."""
    try:
        return _core().read_model(io.BytesIO(data))
    except (RuntimeError, ValueError) as error:
        raise FormatError(f"OpenVINO cannot run this network: {reason_of(error)}.") from error


def set_input_size(model: Any, channels: int, width_px: int, height_px: int) -> Any:
    """`model`, reshaped for one picture of this size. Raises FormatError when its output has no fixed size then."""
    try:
        model.reshape([1, channels, height_px, width_px])
        if model.is_dynamic():
            raise FormatError(
                f"The size of this network's picture is not told by that of its input, {width_px}x{height_px}."
            )
    except RuntimeError as error:
        size = f"{width_px}x{height_px}"
        raise FormatError(f"This network does not take pictures of {size}: {reason_of(error)}.") from error
    return model


def reason_of(error: Exception) -> str:
    """The last line of OpenVINO's message, which names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200].rstrip(".") if lines else type(error).__name__


def compile_model(model: Any, threads: int, precision: str) -> Any:
    """`model` ready to run on the CPU with so many threads. precision: int8, bf16 or fp32."""
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # a player shares its cores with a decoder
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
    }
    return _core().compile_model(model, "CPU", settings)


def build_graph(weights: Weights, width_px: int, height_px: int, *, int8: bool) -> Any:
    """The graph of one exit for one input size.

    Takes luma, uint8 (1, 1, H, W). Gives the residual in whole code values, int8 (1, rows, columns, shuffle²).
    """
    architecture = weights.architecture
    y = op.parameter([1, 1, height_px, width_px], np.uint8, name="y")
    x = _pad_to_multiple(op.convert(y, "f32"), width_px, height_px, architecture.squeeze)
    x = quantize_to_levels(x, 0.0, 255.0) if int8 else x
    x = _add_layers(x, weights, architecture.layers, architecture.squeeze, int8=int8)
    return openvino.Model([_as_cells(x, int8=int8)], [y], str(architecture))


def build_chroma_graph(weights: Weights, columns: int, rows: int, *, int8: bool) -> Any:
    """The graph of a chroma part for one size of its grid.

    Takes folded planes, int8 (1, inputs, rows, columns). Gives cells as `build_graph` does, those of u and then of v.
    """
    assert weights.chroma is not None
    layers = weights.chroma.layers
    folded = op.parameter([1, layers[0].inputs, rows, columns], np.int8, name="folded")
    x = op.convert(folded, "f32")
    x = quantize_to_levels(x, -128.0, 127.0) if int8 else x
    x = _add_layers(x, weights, layers, 1, int8=int8)
    return openvino.Model([_as_cells(x, int8=int8)], [folded], f"chroma-{weights.chroma}")


def _add_layers(x: Any, weights: Weights, layers: Sequence[Layer], squeeze: int, *, int8: bool) -> Any:
    """The convolutions, from code values to code values: the first divides by 255, the last multiplies."""
    *inner, tail = layers
    for layer in inner:
        kernel, gain = weights.tensors[f"{layer.name}.weight"], 1.0
        if layer is inner[0]:
            kernel, gain = (unfold_kernel(kernel, squeeze) if squeeze > 1 else kernel), 1 / 255
        x = op.relu(_add_bias(_convolution(x, kernel, gain, int8=int8), weights, layer, 1.0))
        x = quantize_to_levels(x, 0.0, weights.ranges[layer.name]) if int8 else x
    x = _convolution(x, weights.tensors[f"{tail.name}.weight"], 255.0, int8=int8)
    return _add_bias(x, weights, tail, 255.0)


def _as_cells(x: Any, *, int8: bool) -> Any:
    x = quantize_to_levels(x, RESIDUAL_MIN, RESIDUAL_MAX) if int8 else _round_to_int8(x)
    return op.transpose(op.convert(x, "i8"), op.constant([0, 2, 3, 1]))  # the layout it has anyway: costs nothing


def unfold_kernel(weight: Floats32, squeeze: int) -> Floats32:
    """A kernel over pixels folded into channels, (O, squeeze², 3, 3), as one over pixels: (O, 1, 3·squeeze, 3·squeeze).

    Applied with a stride of `squeeze` it is the same sum of the same products, and stays in int8: folding first made
    OpenVINO run this layer in float32.
    """
    outputs, _, height, width = weight.shape
    cells = weight.reshape(outputs, squeeze, squeeze, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(cells).reshape(outputs, 1, height * squeeze, width * squeeze)


def _convolution(x: Any, weight: Floats32, gain: float, *, int8: bool) -> Any:
    """`weight` times `gain` over x. A kernel of 3n pixels has a stride of n: one position for each n × n pixels."""
    stride = weight.shape[2] // KERNEL_PX
    pair_max = _PAIR_MAX if int8 and weight.shape[1] == 1 and sums_saturate() else None
    kernel = _int8_kernel(weight, gain, pair_max) if int8 else op.constant(weight * np.float32(gain))
    return op.convolution(x, kernel, [stride] * 2, [stride] * 2, [stride] * 2, [1, 1])


def _add_bias(x: Any, weights: Weights, layer: Layer, gain: float) -> Any:
    return op.add(x, op.constant(weights.tensors[f"{layer.name}.bias"].reshape(1, -1, 1, 1) * np.float32(gain)))


def _int8_kernel(weight: Floats32, gain: float, pair_max: int | None = None) -> Any:
    kernel, scale = quantize(weight, pair_max)
    scales = (scale * np.float32(gain)).reshape(-1, 1, 1, 1)
    return op.multiply(op.convert(op.constant(kernel), "f32"), op.constant(scales))


def quantize_to_levels(x: Any, low: float, high: float) -> Any:
    """Quantize x to 256 levels of [low, high]."""
    ends = op.constant(np.float32(low)), op.constant(np.float32(high))
    return op.fake_quantize(x, *ends, *ends, LEVELS)


def _round_to_int8(x: Any) -> Any:
    return op.round(op.clamp(x, RESIDUAL_MIN, RESIDUAL_MAX), "half_to_even")


def _pad_to_multiple(x: Any, width_px: int, height_px: int, multiple: int) -> Any:
    right, below = -width_px % multiple, -height_px % multiple
    if not right and not below:
        return x
    return op.pad(x, op.constant([0, 0, 0, 0]), op.constant([0, 0, below, right]), "edge")


def macs_of(model: Any) -> float:
    """Multiply-accumulates of the convolutions of an OpenVINO model of fixed size.

    Raises FormatError for a tensor too large.
    """
    macs = 0.0
    for each in model.get_ops():
        if any(int(np.prod(list(out.shape), dtype=np.float64)) > _TENSOR_MAX for out in each.outputs()):
            raise FormatError("This network makes a tensor too large to be held.")
        kind = each.get_type_name()
        if kind in ("Convolution", "GroupConvolution"):
            kernel = np.prod(list(each.input(1).get_shape())[-3:], dtype=np.float64)
            macs += float(np.prod(list(each.output(0).shape), dtype=np.float64) * kernel)
        elif kind in ("ConvolutionBackpropData", "GroupConvolutionBackpropData"):
            kernel = np.prod(list(each.input(1).get_shape())[-3:], dtype=np.float64)
            macs += float(np.prod(list(each.input(0).get_shape()), dtype=np.float64) * kernel)
    return macs

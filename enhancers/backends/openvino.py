"""OpenVINO on the CPU: uint8 planes in and out, everything between inside one graph that this module builds itself.

In int8 each activation passes a FakeQuantize and each kernel is stored as int8 with a scale per output channel, the
form that OpenVINO's low-precision transformations turn into integer convolutions. The residual leaves the last
convolution as float, so eight bits cost the features precision but never the picture.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import openvino
import openvino.opset13 as op

from abr.errors import FormatError
from enhancers.architectures.plain import Layer
from enhancers.checkpoint import Weights
from enhancers.frames import Plane
from enhancers.quantize import LEVELS, quantized

_PRECISION_HINTS = {"int8": "f32", "fp32": "f32", "bf16": "bf16"}


class OpenVinoNetwork:
    """A compiled network. `precision`: int8 (needs calibrated ranges), bf16 or fp32."""

    def __init__(self, weights: Weights, width_px: int, height_px: int, threads: int, *, precision: str) -> None:
        if precision == "int8" and not weights.ranges:
            raise FormatError(f"The weights of {weights.architecture} were never calibrated for int8.")
        model = build_graph(weights, width_px, height_px, int8=precision == "int8")
        self._request = compiled(model, threads, precision).create_infer_request()

    def run(self, y: Plane, plain: Plane) -> Plane:
        """See LumaNetwork."""
        outputs = self._request.infer([y[None, None], plain[None, None]], share_inputs=True, share_outputs=True)
        shown: Plane = outputs[0][0, 0]
        return shown


@cache
def _core() -> Any:
    os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
    return openvino.Core()


def compiled(model: Any, threads: int, precision: str) -> Any:
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
    """The graph of one exit for one input size: parameters y and plain, one result, all uint8."""
    architecture = weights.architecture
    shown_width_px, shown_height_px = architecture.shown_px(width_px, height_px)
    y = op.parameter([1, 1, height_px, width_px], np.uint8, name="y")
    plain = op.parameter([1, 1, shown_height_px, shown_width_px], np.uint8, name="plain")
    x = _to_even(op.convert(y, "f32"), width_px, height_px, architecture.squeeze)
    if int8:
        x = eight_bits(x, 255.0)
    if architecture.squeeze > 1:
        x = op.space_to_depth(x, "blocks_first", architecture.squeeze)
    for layer in architecture.layers[:-1]:
        gain = 1 / 255 if layer.name == "head" else 1.0
        x = op.relu(_convolution(x, weights, layer, gain, 1.0, int8=int8))
        if int8:
            x = eight_bits(x, weights.ranges[layer.name])
    x = _convolution(x, weights, architecture.tail, 255.0, 255.0, int8=int8)
    residual = _cropped(op.depth_to_space(x, "blocks_first", architecture.shuffle), shown_width_px, shown_height_px)
    shown = op.clamp(op.round(op.add(residual, op.convert(plain, "f32")), "half_to_even"), 0.0, 255.0)
    return openvino.Model([op.convert(shown, "u8")], [y, plain], str(architecture))


def _convolution(x: Any, weights: Weights, layer: Layer, gain: float, bias_gain: float, *, int8: bool) -> Any:
    """The layer with its kernel times `gain` and its bias times `bias_gain`: code values become units and back."""
    weight = weights.tensors[f"{layer.name}.weight"]
    kernel = _int8_kernel(weight, gain) if int8 else op.constant(weight * np.float32(gain))
    bias = weights.tensors[f"{layer.name}.bias"].reshape(1, -1, 1, 1) * np.float32(bias_gain)
    return op.add(op.convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1]), op.constant(bias))


def _int8_kernel(weight: Any, gain: float) -> Any:
    kernel, scale = quantized(weight)
    scales = (scale * np.float32(gain)).reshape(-1, 1, 1, 1)
    return op.multiply(op.convert(op.constant(kernel), "f32"), op.constant(scales))


def eight_bits(x: Any, top: float) -> Any:
    """x as 256 levels of [0, top]."""
    low, high = op.constant(np.float32(0)), op.constant(np.float32(top))
    return op.fake_quantize(x, low, high, low, high, LEVELS)


def _to_even(x: Any, width_px: int, height_px: int, multiple: int) -> Any:
    right, below = -width_px % multiple, -height_px % multiple
    if not right and not below:
        return x
    return op.pad(x, op.constant([0, 0, 0, 0]), op.constant([0, 0, below, right]), "edge")


def _cropped(x: Any, width_px: int, height_px: int) -> Any:
    if tuple(x.shape)[2:] == (height_px, width_px):
        return x
    return op.slice(
        x, op.constant([0, 0]), op.constant([height_px, width_px]), op.constant([1, 1]), op.constant([2, 3])
    )

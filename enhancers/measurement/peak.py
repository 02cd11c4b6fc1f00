"""The peak of this machine: operations a second of the fastest large convolution, in int8 and in float32.

Every `peak_share` is a share of this. Shapes are searched, because which one is fastest differs between machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import openvino.opset13 as op
from openvino import Model

from enhancers.runtime.backends.openvino import compile_model, quantize_to_levels

_SHAPES = ((64, 128), (128, 64), (256, 28), (256, 64), (512, 32))
"""(channels, side of the square picture in pixels) of 3×3 convolutions that fit in the caches."""
_LAYERS = 3
_TRY_S = 0.25


@cache
def peak_gops(precision: str, threads: int) -> float:
    """10⁹ operations a second (one multiply-accumulate is two). precision: int8 or fp32. Takes two seconds."""
    return max(_gops(precision, threads, *shape) for shape in _SHAPES)


def _gops(precision: str, threads: int, channels: int, side_px: int) -> float:
    int8 = precision == "int8"
    request = compile_model(_stack(channels, side_px, int8=int8), threads, precision).create_infer_request()
    picture = np.ones((1, channels, side_px, side_px), np.uint8 if int8 else np.float32)
    seconds = shortest_s(lambda: request.infer([picture], share_inputs=True, share_outputs=True), _TRY_S)
    return 2 * 9 * channels**2 * side_px**2 * _LAYERS / seconds / 1e9


def _stack(channels: int, side_px: int, *, int8: bool) -> Any:
    x = op.parameter([1, channels, side_px, side_px], np.uint8 if int8 else np.float32)
    y = quantize_to_levels(op.convert(x, "f32"), 0.0, 255.0) if int8 else x
    random = np.random.default_rng(0)
    kernel = random.integers(-127, 128, (channels, channels, 3, 3)).astype(np.int8)
    for _ in range(_LAYERS):
        scale = op.constant(np.full((channels, 1, 1, 1), 1e-3 / channels, np.float32))
        weight = (
            op.multiply(op.convert(op.constant(kernel), "f32"), scale)
            if int8
            else op.constant(kernel * np.float32(1e-5))
        )
        y = op.relu(op.convolution(y, weight, [1, 1], [1, 1], [1, 1], [1, 1]))
        y = quantize_to_levels(y, 0.0, 255.0) if int8 else y
    return Model([op.convert(y, "u8") if int8 else y], [x])


def shortest_s(work: Callable[[], object], try_s: float) -> float:
    """The shortest of the runs that fit in `try_s` seconds, after two to warm up."""
    times_s: list[float] = []
    started_s = time.perf_counter()
    while len(times_s) < 5 or time.perf_counter() - started_s < try_s:
        began_s = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - began_s)
    return min(times_s[2:])

"""A network of ours as one ONNX file: luma in, lifted luma out, the interpolated skip inside.

The skip is swscale's Lanczos as a convolution: each pixel of an output cell is a fixed sum over the input around it. So
the file needs nothing of ours; it differs from what we show by rounding only, which `parity` measures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from abr.errors import FormatError, StorageError
from enhancers.backends import BACKENDS
from enhancers.backends.openvino import unfolded
from enhancers.base import PlainScaler
from enhancers.checkpoint import Floats32, Weights
from enhancers.frames import PIXEL_FORMAT, luma_of
from enhancers.profile import pictures

OPSET, IR_VERSION = 17, 8
DIFFERENCE_MAX = 3
"""Code values: swscale rounds its own sums, and noise finds all of that."""
_LOBES = 3
"""Of the Lanczos window on either side, in input pixels."""


def dumps_onnx(weights: Weights, weights_sha256: str = "") -> bytes:
    """The deepest exit of `weights` in float32.

    Input `y`: float (N, 1, H, W), luma code values ÷ 255, H and W even where the network works at half resolution.
    Output `shown`: float (N, 1, r·H, r·W), the same unit, within 0–1.
    """
    architecture = weights.architecture
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, values: Any) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def convolved(x: str, name: str, weight: Floats32, pads: int, stride: int, bias: Floats32 | None = None) -> str:
        given = [x, constant(f"{name}.weight", weight)]
        given += [] if bias is None else [constant(f"{name}.bias", bias)]
        nodes.append(
            helper.make_node("Conv", given, [name], name=name, pads=[pads] * 4, strides=[stride] * 2)  # kernel: weight
        )
        return name

    def then(kind: str, given: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, given, [output], name=output, **attributes))
        return output

    squeeze = architecture.squeeze
    margin = constant("margin", np.array([0, 0, _LOBES, _LOBES, 0, 0, _LOBES, _LOBES], np.int64))
    skip = convolved(
        then("Pad", ["y", margin], "padded", mode="edge"), "skip", lanczos(architecture.scale, squeeze), 0, squeeze
    )
    x = "y"
    for layer in architecture.layers:
        weight, bias = weights.tensors[f"{layer.name}.weight"], weights.tensors[f"{layer.name}.bias"]
        at_head = layer.name == "head"
        kernel = unfolded(weight, squeeze) if at_head else weight
        stride = squeeze if at_head else 1
        x = convolved(x, layer.name, kernel, stride, stride, bias)
        if layer != architecture.tail:
            x = then("Relu", [x], f"{layer.name}.relu")
    cells = then("Add", [x, skip], "cells")
    picture = then("DepthToSpace", [cells], "picture", blocksize=architecture.shuffle, mode="CRD")
    ends = [constant("black", np.float32(0)), constant("white", np.float32(1))]
    then("Clip", [picture, *ends], "shown")
    graph = helper.make_graph(
        nodes,
        str(architecture),
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "height", "width"])],
        [helper.make_tensor_value_info("shown", TensorProto.FLOAT, ["n", 1, "shown_height", "shown_width"])],
        constants,
        doc_string=f"Luma ÷ 255 in, luma ×{architecture.scale:g} out; height and width are multiples of {squeeze}.",
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="toprung",
    )
    helper.set_model_props(
        model, {"architecture": str(architecture), "weights_sha256": weights_sha256, "note": weights.note}
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def lanczos(scale: float, squeeze: int) -> Floats32:
    """Interpolation to `scale` times the size: a kernel for each pixel of an output cell, over the input around it.

    Returns float32 ((squeeze · scale)², 1, squeeze + 6, squeeze + 6), to be applied with a stride of `squeeze`.
    """
    side = round(squeeze * scale)
    centres = (np.arange(side) + 0.5) / scale - 0.5
    away = np.arange(-_LOBES, squeeze + _LOBES)[None] - centres[:, None]
    line = np.where(np.abs(away) < _LOBES, np.sinc(away) * np.sinc(away / _LOBES), 0.0)
    line /= line.sum(axis=1, keepdims=True)
    cells = np.einsum("ab,cd->acbd", line, line)
    kernels: Floats32 = cells.reshape(side**2, 1, *cells.shape[2:]).astype(np.float32)
    return kernels


def exported(weights: Weights, weights_sha256: str, output: Path) -> int:
    """Write the file once it has passed `parity`, whose figure is returned. Raises FormatError and StorageError."""
    data = dumps_onnx(weights, weights_sha256)
    worst = parity(data, weights)
    if worst > DIFFERENCE_MAX:
        raise FormatError(
            f"ONNX Runtime's picture is {worst} of 255 away from ours; at most {DIFFERENCE_MAX} is right."
        )
    try:
        output.write_bytes(data)
    except OSError as error:
        raise StorageError(f"Cannot write {output}: {error.strerror}.") from error
    return worst


def parity(data: bytes, weights: Weights, size_px: tuple[int, int] = (160, 90)) -> int:
    """The largest difference, in code values, between ONNX Runtime's picture and that of our float32 runtime.

    Over pictures of noise of this size, which is harder than film.
    """
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    ours = BACKENDS.get("torch")(weights, *size_px, 1)
    grow = PlainScaler(*size_px, *weights.architecture.shown_px(*size_px))
    worst = 0
    for frame in pictures(*size_px):
        shown = ours.run(frame.y, luma_of(grow.scale(frame.picture, PIXEL_FORMAT)))
        (theirs,) = session.run(None, {"y": frame.y[None, None].astype(np.float32) / 255})
        worst = max(worst, int(np.abs(np.rint(theirs[0, 0] * 255) - shown).max()))
    return worst

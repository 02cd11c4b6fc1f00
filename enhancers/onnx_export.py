"""A network of ours as one ONNX file: luma in, lifted luma out, the interpolated skip inside.

The skip is swscale's Lanczos as a convolution: each pixel of an output cell is a fixed sum over the input around it. So
the file needs nothing of ours; it differs from what we show by rounding only, which `parity` measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from abr.errors import FormatError
from abr.formats import save
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
    """The deepest exit of `weights` over the interpolated picture, in float32.

    Input `y`: float (N, 1, H, W), luma code values ÷ 255, H and W even where the network works at half resolution.
    Output `shown`: float (N, 1, r·H, r·W), the same unit, within 0–1.
    """
    architecture, graph = weights.architecture, _Graph()
    margin = graph.constant("margin", np.array([0, 0, _LOBES, _LOBES, 0, 0, _LOBES, _LOBES], np.int64))
    padded = graph.then("Pad", ["y", margin], "padded", mode="edge")
    kernels = lanczos(architecture.scale, architecture.squeeze)
    skip = graph.convolved(padded, "skip", kernels, stride=architecture.squeeze, margin=0)
    cells = graph.then("Add", [_cells(graph, weights), skip], "cells")
    picture = graph.then("DepthToSpace", [cells], "picture", blocksize=architecture.shuffle, mode="CRD")
    ends = [graph.constant("black", np.float32(0)), graph.constant("white", np.float32(1))]
    graph.then("Clip", [picture, *ends], "shown")
    return graph.dumps(weights, weights_sha256)


def dumps_residual(weights: Weights) -> bytes:
    """What the deepest exit of `weights` adds to the interpolated picture: as `dumps_onnx`, but for the addition."""
    graph = _Graph()
    cells = _cells(graph, weights)
    graph.then("DepthToSpace", [cells], "shown", blocksize=weights.architecture.shuffle, mode="CRD")
    return graph.dumps(weights, "")


class _Graph:
    """Nodes and constants as they are added, each called by what it gives."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, values: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def then(self, kind: str, given: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, given, [output], name=output, **attributes))
        return output

    def convolved(
        self, x: str, output: str, weight: Floats32, bias: Floats32 | None = None, *, stride: int = 1, margin: int = 1
    ) -> str:
        given = [x, self.constant(f"{output}.weight", weight)]
        given += [] if bias is None else [self.constant(f"{output}.bias", bias)]
        return self.then("Conv", given, output, pads=[margin] * 4, strides=[stride] * 2)

    def dumps(self, weights: Weights, weights_sha256: str) -> bytes:
        architecture = weights.architecture
        graph = helper.make_graph(
            self._nodes,
            str(architecture),
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "height", "width"])],
            [helper.make_tensor_value_info("shown", TensorProto.FLOAT, ["n", 1, "shown_height", "shown_width"])],
            self._constants,
            doc_string=f"Luma ÷ 255; height and width are multiples of {architecture.squeeze}.",
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="toprung")
        told = {"architecture": str(architecture), "weights_sha256": weights_sha256, "note": weights.note}
        helper.set_model_props(model, told)
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString()
        return data


def _cells(graph: _Graph, weights: Weights) -> str:
    """The layers up to the pixels of each position of the working grid. Folding is the first one's stride."""
    architecture, x = weights.architecture, "y"
    for layer in architecture.layers:
        weight, bias = weights.tensors[f"{layer.name}.weight"], weights.tensors[f"{layer.name}.bias"]
        if layer.name == "head":
            squeeze = architecture.squeeze
            x = graph.convolved(x, layer.name, unfolded(weight, squeeze), bias, stride=squeeze, margin=squeeze)
        else:
            x = graph.convolved(x, layer.name, weight, bias)
        if layer != architecture.tail:
            x = graph.then("Relu", [x], f"{layer.name}.relu")
    return x


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
    save(output, data)
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

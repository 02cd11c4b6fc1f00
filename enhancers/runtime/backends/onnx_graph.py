"""A network of ours as an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from enhancers.networks.checkpoint import Floats32, Weights, is_tail
from enhancers.networks.chroma import ChromaArchitecture
from enhancers.networks.lanczos import LOBES, lanczos_kernels
from enhancers.networks.plain import Layer, PlainArchitecture
from enhancers.runtime.backends.openvino import unfold_kernel
from enhancers.runtime.backends.residual import RESIDUAL_MAX, RESIDUAL_MIN

OPSET, IR_VERSION = 17, 8


def dumps_onnx(weights: Weights, weights_sha256: str = "") -> bytes:
    """The deepest exit of `weights` over the interpolated picture, in float32; what it adds saturates as ours does.

    Input `y`: float (N, 1, H, W), luma code values ÷ 255, H and W even where the network works at half resolution.
    Output `shown`: float (N, 1, r·H, r·W), the same unit, within 0–1.

    Weights with a chroma part take `u` and `v` too, (N, 1, H/2, W/2), and give `shown_u` and `shown_v`; H and W are
    multiples of the part's `luma_fold` then.
    """
    architecture, graph = weights.architecture, _Graph()
    taken, given = [_picture("y", 1, "")], [_picture("shown", 1, "shown_")]
    graph.add_limits()
    _compose(graph, "y", _add_layers(graph, weights), "shown", architecture)
    if weights.chroma:
        cells = _add_chroma(graph, weights, weights.chroma)
        for plane, name in zip("uv", cells, strict=True):
            taken.append(_picture(plane, 1, "chroma_"))
            given.append(_picture(f"shown_{plane}", 1, "shown_chroma_"))
            _compose(graph, plane, name, f"shown_{plane}", weights.chroma)
    return graph.dumps(weights, weights_sha256, taken, given)


def _compose(
    graph: _Graph, plane: str, cells: str, output: str, architecture: PlainArchitecture | ChromaArchitecture
) -> None:
    """The picture `output`: `plane` interpolated, and the residual `cells` on top."""
    padded = graph.add_node("Pad", [plane, "margin"], f"{output}.padded", mode="edge")
    is_chroma = isinstance(architecture, ChromaArchitecture)
    kernels = lanczos_kernels(architecture.scale, architecture.squeeze, left_sited=is_chroma)
    skip = graph.convolve(padded, f"{output}.skip", kernels, stride=architecture.squeeze, margin=0)
    residual = graph.add_node("Clip", [cells, "residual.least", "residual.most"], f"{output}.residual")
    summed = graph.add_node("Add", [residual, skip], f"{output}.cells")
    picture = graph.add_node("DepthToSpace", [summed], f"{output}.picture", blocksize=architecture.shuffle, mode="CRD")
    graph.add_node("Clip", [picture, "black", "white"], output)


def _add_chroma(graph: _Graph, weights: Weights, chroma: ChromaArchitecture) -> tuple[str, str]:
    """The chroma part from the three planes on. Returns the names of its cells of u and of v."""
    folded = [graph.add_node("SpaceToDepth", ["y"], "y.folded", blocksize=chroma.luma_fold)]
    for plane in "uv":
        fold = chroma.squeeze > 1
        name = graph.add_node("SpaceToDepth", [plane], f"{plane}.folded", blocksize=chroma.squeeze) if fold else plane
        folded.append(name)
    joined = graph.add_node("Concat", folded, "planes", axis=1)
    x = graph.add_node("Sub", [joined, graph.constant("centre", np.float32(128 / 255))], "centred")
    for layer in chroma.layers:
        x = graph.add_layer(x, weights, layer)
    cells = ("u.cells", "v.cells")
    graph.split(x, cells)
    return cells


def dumps_residual(weights: Weights) -> bytes:
    """What the deepest exit of `weights` adds to the interpolated picture: as `dumps_onnx`, but for the addition."""
    graph = _Graph()
    cells = _add_layers(graph, weights)
    graph.add_node("DepthToSpace", [cells], "shown", blocksize=weights.architecture.shuffle, mode="CRD")
    return graph.dumps(weights, "", [_picture("y", 1, "")], [_picture("shown", 1, "shown_")])


def dumps_chroma_cells(weights: Weights) -> bytes:
    """The chroma part of `weights`: from folded planes ÷ 255 without their middle to cells of u and v ÷ 255."""
    assert weights.chroma is not None
    graph, layers, x = _Graph(), weights.chroma.layers, "folded"
    for layer in layers:
        x = graph.add_layer(x, weights, layer)
    return graph.dumps(weights, "", [_picture("folded", layers[0].inputs, "")], [_picture(x, layers[-1].outputs, "")])


class _Graph:
    """Collects nodes and constants. Each node has the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, values: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add_node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolve(
        self, x: str, output: str, weight: Floats32, bias: Floats32 | None = None, *, stride: int = 1, margin: int = 1
    ) -> str:
        inputs = [x, self.constant(f"{output}.weight", weight)]
        inputs += [] if bias is None else [self.constant(f"{output}.bias", bias)]
        return self.add_node("Conv", inputs, output, pads=[margin] * 4, strides=[stride] * 2)

    def add_layer(self, x: str, weights: Weights, layer: Layer) -> str:
        """A convolution, with its ReLU where it is not the last."""
        tensors = weights.tensors
        x = self.convolve(x, layer.name, tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"])
        return x if is_tail(layer) else self.add_node("Relu", [x], f"{layer.name}.relu")

    def add_limits(self) -> None:
        """The constants that every composed picture shares."""
        self.constant("margin", np.array([0, 0, LOBES, LOBES, 0, 0, LOBES, LOBES], np.int64))
        self.constant("residual.least", np.float32(RESIDUAL_MIN / 255))
        self.constant("residual.most", np.float32(RESIDUAL_MAX / 255))
        self.constant("black", np.float32(0))
        self.constant("white", np.float32(1))

    def split(self, x: str, outputs: Sequence[str]) -> None:
        """Cut x along its channels into equal parts."""
        self._nodes.append(helper.make_node("Split", [x], list(outputs), name=f"{x}.split", axis=1))

    def dumps(self, weights: Weights, weights_sha256: str, taken: Sequence[Any], given: Sequence[Any]) -> bytes:
        """The checked model between the pictures `taken` and `given`."""
        architecture, multiple = weights.architecture, weights.architecture.squeeze
        multiple = max(multiple, weights.chroma.luma_fold) if weights.chroma and len(taken) > 1 else multiple
        graph = helper.make_graph(
            self._nodes,
            str(architecture),
            taken,
            given,
            self._constants,
            doc_string=f"Planes ÷ 255; height and width are multiples of {multiple}.",
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="toprung")
        properties = {"architecture": str(architecture), "weights_sha256": weights_sha256, "note": weights.note}
        helper.set_model_props(model, properties)
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString()
        return data


def _picture(name: str, channels: int, prefix: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, f"{prefix}height", f"{prefix}width"])


def _add_layers(graph: _Graph, weights: Weights) -> str:
    """The layers up to the pixels of each position of the working grid. Folding is the first one's stride."""
    squeeze, x = weights.architecture.squeeze, "y"
    for layer in weights.architecture.layers:
        if layer.name == "head" and squeeze > 1:
            kernel = unfold_kernel(weights.tensors["head.weight"], squeeze)
            x = graph.convolve(x, "head", kernel, weights.tensors["head.bias"], stride=squeeze, margin=squeeze)
            x = graph.add_node("Relu", [x], "head.relu")
        else:
            x = graph.add_layer(x, weights, layer)
    return x

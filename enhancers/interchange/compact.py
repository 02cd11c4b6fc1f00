"""Safetensors of the widely used "compact" networks (SRVGGNetCompact, Real-ESRGAN) as ONNX.

    x ─ conv ─ [PReLU ─ conv] × n ─ pixel shuffle ─ (+) ─ shown
    x, nearest neighbour ───────────────────────────┘

A safetensors file has tensors but no graph. The graph of this family follows from names and shapes: tensors are called
`<prefix>body.<place>.weight` and `.bias`; a weight of one dimension is a PReLU's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from abr.errors import FormatError
from enhancers.networks.checkpoint import CHUNK_BYTES_MAX

_NAME = re.compile(r"(?:[A-Za-z_]{1,32}\.)?body\.(\d{1,3})\.(weight|bias)")
_EXPECTED = "expected those of a compact network: body.0.weight, body.0.bias, body.1.weight (PReLU) and so on"
Floats = npt.NDArray[np.float32]


def compact_as_onnx(data: bytes) -> bytes:
    """The network of a safetensors file. Raises FormatError for one that is damaged or not of this kind."""
    if len(data) > CHUNK_BYTES_MAX:
        raise FormatError(f"This network is {len(data)} bytes; at most {CHUNK_BYTES_MAX} are taken.")
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"This is not a safetensors file of numbers: {str(error)[:200]}.") from error
    places: dict[int, dict[str, Floats]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None or tensor.dtype.kind != "f":
            raise FormatError(f"This file holds the tensor {name[:60]!r} of {tensor.dtype}; {_EXPECTED}.")
        places.setdefault(int(match[1]), {})[match[2]] = tensor.astype(np.float32)
    return _graph(places)


def _graph(places: Mapping[int, Mapping[str, Floats]]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []
    x, channels, width = "x", 0, 0
    for place in sorted(places):
        weight, bias = places[place].get("weight"), places[place].get("bias")
        if weight is None:
            raise FormatError(f"body.{place} has no weight; {_EXPECTED}.")
        output = f"body.{place}"
        if weight.ndim == 1 and bias is None and len(weight) in (1, width):
            constants.append(numpy_helper.from_array(weight.reshape(-1, 1, 1), f"{output}.slope"))
            nodes.append(helper.make_node("PRelu", [x, f"{output}.slope"], [output]))
        elif weight.ndim == 4 and bias is not None and weight.shape[2:] == (3, 3) and bias.shape == weight.shape[:1]:
            channels = channels or weight.shape[1]
            if width and weight.shape[1] != width:
                raise FormatError(f"body.{place} takes {weight.shape[1]} channels; {width} are there before it.")
            width = weight.shape[0]
            constants += [numpy_helper.from_array(weight, f"{output}.weight")]
            constants += [numpy_helper.from_array(bias, f"{output}.bias")]
            inputs = [x, f"{output}.weight", f"{output}.bias"]
            nodes.append(helper.make_node("Conv", inputs, [output], pads=[1, 1, 1, 1]))
        else:
            raise FormatError(f"body.{place} has a weight of {list(weight.shape)[:6]}; {_EXPECTED}.")
        x = output
    scale = round((width / channels) ** 0.5) if channels else 0
    if scale not in (2, 3, 4) or scale**2 * channels != width:
        raise FormatError(f"This network ends with {width} channels for {channels}; expected 4, 9 or 16 times as many.")
    constants.append(numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales"))
    nodes += [
        helper.make_node("DepthToSpace", [x], ["gain"], blocksize=scale, mode="CRD"),
        helper.make_node(
            "Resize",
            ["x", "", "scales"],
            ["plain"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Add", ["gain", "plain"], ["shown"]),
    ]
    graph = helper.make_graph(
        nodes,
        "compact",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, "height", "width"])],
        [helper.make_tensor_value_info("shown", TensorProto.FLOAT, ["n", channels, "shown_height", "shown_width"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="toprung")
    data: bytes = model.SerializeToString()
    return data

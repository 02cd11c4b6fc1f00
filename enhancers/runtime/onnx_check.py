"""Networks of other makers, as ONNX: checked like everything that comes from outside, and measured before they run.

What is taken: one graph of plain tensor operations, from a picture of one channel (luma) or three (RGB, given grey)
to a picture 1.5, 2, 3 or 4 times its size with as many channels, in 0–1 or 0–255. Nothing that loops, branches, calls
functions or names other files. A title carries the file as its one chunk of weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from abr.errors import FormatError
from enhancers.networks.checkpoint import CHUNK_BYTES_MAX, digest
from enhancers.networks.imported import SCALES, ImportedArchitecture, ImportedNetwork

_OPERATIONS = frozenset(
    re.findall(
        r"\w+",
        """
        Abs Add BatchNormalization Cast Clip Concat Constant Conv ConvTranspose DepthToSpace Div Elu Exp Flatten Floor
        Gather Gelu GlobalAveragePool HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu Max Min Mul Neg
        PRelu Pad Pow ReduceMean Relu Reshape Resize Shape Sigmoid Slice Softplus SpaceToDepth Split Sqrt Squeeze Sub
        Tanh Transpose Unsqueeze
        """,
    )
)
_NODES_MAX = 4096
_VALUE_MAX = 1e6
_TRIAL_PX = 64, 48
_MACS_PER_PX_MAX = 1e6
"""Per pixel of the shown picture: a hundred times our costliest network."""
_FLAT_ERROR_MAX = 0.1
_FLATS = (0.3, 0.5, 0.7)


@lru_cache(maxsize=8)
def loads_onnx(data: bytes) -> ImportedNetwork:
    """Check and try a network. Raises FormatError saying what is wrong with it."""
    if len(data) > CHUNK_BYTES_MAX:
        raise FormatError(f"This network is {len(data)} bytes; at most {CHUNK_BYTES_MAX} are taken.")
    channels = _check_graph(data)
    scale, white, macs = _try_out(data, channels)
    return ImportedNetwork(
        architecture=ImportedArchitecture(digest=digest(data)[:16], scale=scale),
        data=data,
        channels=channels,
        white=white,
        macs_per_output_px=macs,
    )


def _check_graph(data: bytes) -> int:
    """Read the file's own description of itself, without running anything. Returns its channels."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise FormatError("Imported networks need the package onnx: pip install 'toprung[onnx]'.") from error
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise FormatError(f"This is not an ONNX network: {reason}.") from error
    graph = model.graph
    if model.functions or graph.sparse_initializer or any(each.domain not in ("", "ai.onnx") for each in graph.node):
        raise FormatError("This network has functions, sparse tensors or operations of other domains: not taken.")
    if len(graph.node) > _NODES_MAX:
        raise FormatError(f"This network has {len(graph.node)} operations; at most {_NODES_MAX} are taken.")
    if strange := sorted({each.op_type for each in graph.node} - _OPERATIONS):
        raise FormatError(f"This network uses {', '.join(strange)[:200]}; only plain tensor operations are taken.")
    for tensor in _tensors(onnx, graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise FormatError(f"The tensor {tensor.name[:60]!r} of this network lies in another file: not taken.")
        if not _is_sound(_values(onnx, tensor)):
            raise FormatError(f"The tensor {tensor.name[:60]!r} of this network is not finite numbers within 10⁶.")
    return _channels(onnx, graph)


def _values(onnx: Any, tensor: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as error:  # fewer numbers than its shape says, say
        raise FormatError(f"The tensor {tensor.name[:60]!r} of this network is damaged: {str(error)[:200]}.") from error


def _is_sound(values: npt.NDArray[Any]) -> bool:
    if values.dtype.kind != "f":
        return values.dtype.kind in "iub"
    with np.errstate(invalid="ignore"):  # signalling NaN
        return bool((np.abs(values.astype(np.float64)) <= _VALUE_MAX).all())


def _tensors(onnx: Any, graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                raise FormatError("This network branches or loops: not taken.")
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors


def _channels(onnx: Any, graph: Any) -> int:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise FormatError(
            f"This network has {len(inputs)} inputs and {len(graph.output)} outputs; expected a picture and a picture."
        )
    kind = inputs[0].type.tensor_type
    sizes = [each.dim_value for each in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or len(sizes) != 4 or sizes[1] not in (1, 3):
        raise FormatError("This network does not take float pictures (N, 1, H, W) or (N, 3, H, W).")
    if sizes[2] or sizes[3]:
        raise FormatError(f"This network takes pictures of {sizes[3]}x{sizes[2]} only: export it for any size.")
    return int(sizes[1])


def _try_out(data: bytes, channels: int) -> tuple[float, float, float]:
    """Run it on small flat pictures. Returns its scale, its value of white, and its cost."""
    from enhancers.runtime.backends.openvino import compile_model, macs_of, read_onnx, reason_of, set_input_size

    width, height = _TRIAL_PX
    model = set_input_size(read_onnx(data), channels, width, height)
    shape = tuple(model.output(0).shape)
    scale = shape[-1] / width
    if shape != (1, channels, height * scale, width * scale) or scale not in SCALES:
        raise FormatError(
            f"This network makes {list(shape)[:6]} of {[1, channels, height, width]}; expected 1.5, 2, 3 or 4 times "
            "the width and height, and as many channels."
        )
    macs = macs_of(model) / (shape[-1] * shape[-2])
    if macs > _MACS_PER_PX_MAX:
        raise FormatError(f"This network takes {macs:.0f} multiplications a pixel; at most {_MACS_PER_PX_MAX:.0f}.")
    try:
        request = compile_model(model, 1, "fp32").create_infer_request()
        for white in (1.0, 255.0):
            if all(_keeps_flat_picture(request, (1, channels, height, width), flat, white) for flat in _FLATS):
                return scale, white, macs
    except RuntimeError as error:
        raise FormatError(f"OpenVINO cannot run this network: {reason_of(error)}.") from error
    raise FormatError(
        "This network does not give flat grey pictures back, neither in 0–1 nor in 0–255: not plain super-resolution."
    )


def _keeps_flat_picture(request: Any, shape: tuple[int, ...], flat: float, white: float) -> bool:
    """Whether a flat picture stays itself; borders, where convolutions see zeros, left out."""
    shown = request.infer([np.full(shape, flat * white, np.float32)])[0] / white
    inner = shown[..., shown.shape[-2] // 4 : -shown.shape[-2] // 4, shown.shape[-1] // 4 : -shown.shape[-1] // 4]
    return bool(np.isfinite(shown).all() and np.abs(inner - flat).max() < _FLAT_ERROR_MAX)

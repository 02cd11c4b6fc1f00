"""ONNX networks as their makers export them, brought to the form that is checked and run: float (N, C, H, W), any size.

What differs is only at the two ends of the graph: pictures in half floats, channels behind the pixels (NHWC, as from
TensorFlow), and a size that the exporter wrote down though the operations take any. Networks that need more than that
come back as they are, and `enhancers.runtime.onnx_check` says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from abr.errors import FormatError

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_CHANNELS = (1, 3)


def as_float_nchw(data: bytes) -> bytes:
    """`data`, or an equal network between float (N, C, H, W) pictures of any size. Never raises for a bad file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError):
        return data
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        return data
    taken, given = inputs[0], model.graph.output[0]
    sizes = [each.dim_value for each in taken.type.tensor_type.shape.dim]
    half = onnx.TensorProto.FLOAT16
    is_nhwc = sizes[1] not in _CHANNELS and sizes[3] in _CHANNELS
    fixed = any(sizes[1:3] if is_nhwc else sizes[2:])
    if not (fixed or is_nhwc or half in (_kind(taken), _kind(given))):
        return data
    channels = sizes[3] if is_nhwc else sizes[1]
    first = _input_nodes(onnx, taken, is_nhwc)
    last = _output_nodes(onnx, given, is_nhwc and not _has_channels_first(given, channels))
    nodes = [*first, *model.graph.node, *last]
    del model.graph.node[:], model.graph.value_info[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.input.remove(taken)
    source, end = first[0].input[0] if first else taken.name, last[-1].output[0] if last else given.name
    model.graph.input.insert(0, _picture(onnx, source, channels, "height", "width"))
    model.graph.output.append(_picture(onnx, end, channels, "shown_height", "shown_width"))
    changed: bytes = model.SerializeToString()
    return changed


def refuse_fixed_size(data: bytes, channels: int) -> None:
    """Raises FormatError when a network whose size was written down takes no other size either."""
    from enhancers.runtime.backends.openvino import read_onnx, set_input_size

    shapes = []
    for width, height in ((64, 48), (96, 80)):
        model = set_input_size(read_onnx(data), channels, width, height)
        _, _, rows, columns = model.output(0).shape
        shapes.append((columns / width, rows / height))
    if len({*shapes[0], *shapes[1]}) != 1:
        raise FormatError("This network is made for pictures of one size only: export it for any size.")


def _kind(value: Any) -> int:
    return int(value.type.tensor_type.elem_type)


def _has_channels_first(value: Any, channels: int) -> bool:
    sizes = [each.dim_value for each in value.type.tensor_type.shape.dim]
    return len(sizes) == 4 and sizes[1] == channels and sizes[3] != channels


def _input_nodes(onnx: Any, taken: Any, is_nhwc: bool) -> list[Any]:
    """From the picture to what the network takes."""
    steps: list[tuple[str, dict[str, Any]]] = []
    if is_nhwc:
        steps.append(("Transpose", {"perm": _TO_NHWC}))
    if _kind(taken) == onnx.TensorProto.FLOAT16:
        steps.append(("Cast", {"to": onnx.TensorProto.FLOAT16}))
    return _chain(onnx, steps, "toprung.picture", taken.name)


def _output_nodes(onnx: Any, given: Any, is_nhwc: bool) -> list[Any]:
    """From what the network gives to the picture."""
    steps: list[tuple[str, dict[str, Any]]] = []
    if _kind(given) == onnx.TensorProto.FLOAT16:
        steps.append(("Cast", {"to": onnx.TensorProto.FLOAT}))
    if is_nhwc:
        steps.append(("Transpose", {"perm": _TO_NCHW}))
    return _chain(onnx, steps, given.name, "toprung.shown")


def _chain(onnx: Any, steps: Sequence[tuple[str, dict[str, Any]]], first: str, last: str) -> list[Any]:
    """Operations one after the other, from the value called `first` to that called `last`."""
    names = [first, *(f"toprung.{last}.{number}" for number in range(1, len(steps))), last]
    return [
        onnx.helper.make_node(kind, [names[number]], [names[number + 1]], **attributes)
        for number, (kind, attributes) in enumerate(steps)
    ]


def _picture(onnx: Any, name: str, channels: int, rows: str, columns: str) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", channels, rows, columns])

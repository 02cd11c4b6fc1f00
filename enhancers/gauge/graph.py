"""The anatomy of a model as OpenVINO reads it: from ONNX, TFLite or its own format, one way to count for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from enhancers.gauge.records import Anatomy, Port
from enhancers.gauge.shapes import Shape, fill_shape

_PORTS_MAX = 64
_KINDS_MAX = 64
_IN_NO_GRAPH = ("Parameter", "Result", "Constant", "Convert", "FakeQuantize", "Reshape", "Transpose")
_FLOATS = ("f64", "f32", "f16", "bf16")
_WEIGHTS = (*_FLOATS, "i8", "u8", "i4", "u4", "u1")
_BITS = {"f64": 64, "f32": 32, "i4": 4, "u4": 4, "u1": 1, "i8": 8, "u8": 8}
_GATES = {"LSTMSequence": 4, "LSTMCell": 4, "GRUSequence": 3, "GRUCell": 3, "RNNSequence": 1, "RNNCell": 1}


def ports_of(ends: Iterable[Any]) -> tuple[Port, ...]:
    """Inputs or outputs of an OpenVINO model."""
    return tuple(
        Port(name=_name(end)[:256], dtype=end.get_element_type().get_type_name(), shape=_sizes(end.get_partial_shape()))
        for end in list(ends)[:_PORTS_MAX]
    )


def _name(end: Any) -> str:
    names = end.get_names()
    return min(names, key=len) if names else ""


def _sizes(shape: Any) -> Shape:
    if shape.rank.is_dynamic:
        return ()
    return tuple(dimension.get_length() if dimension.is_static else -1 for dimension in shape)[:16]


def settle_shapes(model: Any, ports: Sequence[Port], picture_px: tuple[int, int]) -> tuple[Shape, ...]:
    """Give the model a size for each that it leaves open; returns those of its inputs.

    picture_px: height and width for pictures. Raises RuntimeError for a model that minds.
    """
    shapes = tuple(fill_shape(port.shape, port.dtype, picture_px) for port in ports)
    if any(-1 in port.shape for port in ports):
        model.reshape(dict(zip(range(len(shapes)), shapes, strict=True)))
    return shapes


def anatomy_of(model: Any, inputs: tuple[Port, ...], outputs: tuple[Port, ...], shapes: tuple[Shape, ...]) -> Anatomy:
    """Of a model whose shapes have been settled. Bodies of loops and branches are counted once."""
    operations = list(_operations(model))
    kinds = Counter(each.get_type_name() for each in operations)
    sizes: Counter[str] = Counter()
    parameters = 0
    for each in operations:
        if each.get_type_name() == "Constant" and (kind := each.get_element_type().get_type_name()) in _WEIGHTS:
            count = prod(each.get_output_shape(0))
            if count > 1:
                parameters += count
                sizes[kind] += count * _BITS.get(kind, 16) // 8
    macs = [_macs(each) for each in operations]
    known = [each for each in macs if each is not None]
    shown = Counter({kind: count for kind, count in kinds.items() if kind not in _IN_NO_GRAPH})
    return Anatomy(
        inputs=inputs,
        outputs=outputs,
        ran_shapes=shapes,
        gave_shapes=tuple(port.shape for port in ports_of(model.outputs)),
        layers=sum(each != 0 for each in macs),
        operators=dict(shown.most_common(_KINDS_MAX)),
        parameters=parameters,
        macs=float(sum(known)) if len(known) == len(macs) else None,
        weights_bytes=dict(sizes),
    )


def _operations(model: Any) -> Iterable[Any]:
    for each in model.get_ops():
        yield each
        for body in _bodies(each):
            yield from _operations(body)


def _bodies(operation: Any) -> list[Any]:
    kind = operation.get_type_name()
    if kind == "If":
        return [operation.get_then_body(), operation.get_else_body()]
    return [operation.get_function()] if kind in ("Loop", "TensorIterator") else []


def _macs(operation: Any) -> float | None:
    """Multiply-accumulates; 0 for what does not multiply, None where a size stays open."""
    kind = operation.get_type_name()
    rule = _RULES.get(kind)
    if rule is None:
        return 0.0
    ends = [*(end.get_partial_shape() for end in operation.inputs()), operation.output(0).get_partial_shape()]
    if any(end.is_dynamic for end in (ends[0], ends[1], ends[-1])):
        return None
    return float(rule(operation))


def _convolution(operation: Any) -> float:
    """Each number that comes out is a sum over a kernel: (outputs, inputs, …)."""
    return float(prod(operation.output(0).shape) * prod(operation.input(1).get_shape()[1:]))


def _group_convolution(operation: Any) -> float:
    """The kernel is (groups, outputs, inputs, …)."""
    return float(prod(operation.output(0).shape) * prod(operation.input(1).get_shape()[2:]))


def _transposed(operation: Any) -> float:
    """Each number that goes in is multiplied by a kernel: (inputs, outputs, …)."""
    return float(prod(operation.input(0).get_shape()) * prod(operation.input(1).get_shape()[1:]))


def _group_transposed(operation: Any) -> float:
    return float(prod(operation.input(0).get_shape()) * prod(operation.input(1).get_shape()[2:]))


def _product(operation: Any) -> float:
    inner = operation.input(0).get_shape()[-2 if operation.get_attributes().get("transpose_a") else -1]
    return float(prod(operation.output(0).shape) * inner)


def _recurrent(operation: Any) -> float:
    """Each step multiplies input and state by the weights of all gates."""
    hidden = int(operation.get_attributes()["hidden_size"])
    shape = operation.input(0).get_shape()
    gates = _GATES[operation.get_type_name()]
    return float(prod(shape[:-1]) * gates * hidden * (shape[-1] + hidden))


_RULES = {
    "Convolution": _convolution,
    "GroupConvolution": _group_convolution,
    "ConvolutionBackpropData": _transposed,
    "GroupConvolutionBackpropData": _group_transposed,
    "MatMul": _product,
    **dict.fromkeys(_GATES, _recurrent),
}

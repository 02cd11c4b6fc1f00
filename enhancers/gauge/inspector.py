"""A process that reads models, each in a child with bounds: a damaged or hostile file costs itself."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from abr.errors import FormatError
from abr.records import Record, dumps, loads
from enhancers.gauge.records import Anatomy, Format, FoundFile, Inspection, Port
from enhancers.gauge.shapes import PICTURES_PX, fill_shape
from enhancers.profiling.forking import Bounds, Work, serve

BOUNDS = Bounds(seconds=60.0, memory_bytes=6 << 30, writes=False)
_HEADER_MAX = 100 << 20
_TYPES = {
    "F64": "f64",
    "F32": "f32",
    "F16": "f16",
    "BF16": "bf16",
    "I8": "i8",
    "U8": "u8",
    "F8_E4M3": "f8",
    "F8_E5M2": "f8",
}
_ONNX_TYPES = {
    "FLOAT": "f32",
    "FLOAT16": "f16",
    "BFLOAT16": "bf16",
    "DOUBLE": "f64",
    "INT8": "i8",
    "UINT8": "u8",
    "INT32": "i32",
    "INT64": "i64",
}
_WIDTHS = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i8": 1, "u8": 1}
"""Bytes of a weight."""
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "QLinearConv", "QLinearMatMul", "ConvInteger")
_TORCH_TYPES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8": "i8", "uint8": "u8"}


class Setup(Record, frozen=True):
    """What there is to be read."""

    formats: tuple[Format, ...]


def prepare(setup: bytes) -> Work:
    """Load what reads these formats, before forking."""
    import onnx
    import openvino  # noqa: F401

    onnx.TensorProto()
    if Format.TORCHSCRIPT in loads(setup, Setup, what="setup").formats and find_spec("torch"):
        import_module("torch.jit")
    return _inspect_line


def _inspect_line(line: bytes) -> bytes:
    file = loads(line, FoundFile, what="found file")
    try:
        anatomy = inspect(file)
    except FormatError as error:
        return failed(str(error).rstrip("."))
    except Exception as error:  # noqa: BLE001 (of a damaged file, libraries raise anything)
        return failed(_last_line(error).replace(file.path, "the file"))
    return dumps(Inspection(anatomy=anatomy))


def failed(reason: str) -> bytes:
    """The answer for what cannot be read."""
    return dumps(Inspection(failure=(reason or "it cannot be read")[:1000]))


def inspect(file: FoundFile) -> Anatomy | None:
    """None for what is sound and tells nothing. Raises FormatError, or what libraries raise, for what is not sound."""
    path = Path(file.path)
    if file.format is Format.SAFETENSORS:
        return _of_safetensors(path)
    if file.format is Format.PICKLE:
        return None
    if file.format is Format.TORCHSCRIPT:
        return _of_torchscript(path)
    if file.format is Format.ONNX:
        data = path.read_bytes()
        return _of_onnx(data, check_onnx(data))
    return _of_openvino(lambda: read_model(file))


def read_model(file: FoundFile) -> Any:
    """By OpenVINO. Raises RuntimeError; of ONNX, `check_onnx` has to be asked before."""
    import openvino

    core = openvino.Core()
    if file.format is Format.ONNX:
        return core.read_model(io.BytesIO(Path(file.path).read_bytes()))
    if file.format is Format.OPENVINO and not file.companion:
        raise FormatError("The .bin file with its weights is not beside it.")
    return core.read_model(file.path, file.companion) if file.companion else core.read_model(file.path)


def check_onnx(data: bytes) -> Any:
    """The parsed model. Raises FormatError for a damaged one, and for one that names other files."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise FormatError(f"It is no sound ONNX file: {_first_line(error)}.") from error
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise FormatError("Its weights lie in other files, which are not opened.")
    return model


def _of_openvino(read: Callable[[], Any]) -> Anatomy:
    """By the first of the usual sizes that it takes. Raises RuntimeError when it takes none."""
    from enhancers.gauge.graph import anatomy_of, ports_of, settle_shapes

    for picture_px in PICTURES_PX:
        model = read()
        inputs, outputs = ports_of(model.inputs), ports_of(model.outputs)
        try:
            shapes = settle_shapes(model, inputs, picture_px)
        except RuntimeError as error:
            minded = error
            continue
        return anatomy_of(model, inputs, outputs, shapes)
    raise minded


def _of_onnx(data: bytes, model: Any) -> Anatomy:
    """What OpenVINO cannot read is counted from the file itself, without multiplications."""
    import openvino

    try:
        return _of_openvino(lambda: openvino.Core().read_model(io.BytesIO(data)))
    except RuntimeError:
        return _of_onnx_alone(model)


def _of_onnx_alone(model: Any) -> Anatomy:
    nodes, tensors = [], list(model.graph.initializer)
    for graph in _graphs(model.graph):
        nodes += graph.node
        tensors += graph.initializer if graph is not model.graph else ()
        tensors += (each.t for node in graph.node if node.op_type == "Constant" for each in node.attribute)
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        if (count := prod(tensor.dims)) > 1 and (kind := _onnx_type(tensor.data_type)) in _WIDTHS:
            sizes[kind] += count * _WIDTHS[kind]
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_onnx_port(each) for each in model.graph.input if each.name not in constants)[:64]
    return Anatomy(
        inputs=inputs,
        outputs=tuple(map(_onnx_port, model.graph.output))[:64],
        ran_shapes=tuple(fill_shape(port.shape, port.dtype) for port in inputs),
        layers=sum(node.op_type in _LAYERS for node in nodes),
        operators=dict(Counter(node.op_type for node in nodes).most_common(64)),
        parameters=sum(size // _WIDTHS[kind] for kind, size in sizes.items()),
        weights_bytes=dict(sizes),
    )


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph, and those of its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
                yield from _graphs(inner)


def _onnx_type(number: int) -> str:
    import onnx

    name = str(onnx.TensorProto.DataType.Name(number))
    return _ONNX_TYPES.get(name, name.lower())


def _onnx_port(value: Any) -> Port:
    kind = value.type.tensor_type
    shape = tuple(each.dim_value if each.dim_value > 0 else -1 for each in kind.shape.dim)
    return Port(name=value.name[:256], dtype=_onnx_type(kind.elem_type), shape=shape[:16])


def _of_torchscript(path: Path) -> Anatomy:
    """Loading it runs nothing but PyTorch's own reader of tensors; its code runs when it is measured."""
    try:
        import torch
    except ImportError as error:
        raise FormatError("Reading TorchScript needs torch: pip install 'toprung[train]'.") from error

    model = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    tensors = [*model.parameters(), *model.buffers()]
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[_torch_type(str(tensor.dtype))] += tensor.numel() * tensor.element_size()
    kinds = Counter(node.kind().partition("::")[2] for node in model.inlined_graph.nodes())
    return Anatomy(
        layers=sum(1 for _ in model.parameters()),
        operators=dict(kinds.most_common(64)),
        parameters=sum(tensor.numel() for tensor in tensors),
        weights_bytes=dict(sizes),
    )


def _torch_type(name: str) -> str:
    return _TORCH_TYPES.get(name.removeprefix("torch."), name.removeprefix("torch."))


def _of_safetensors(path: Path) -> Anatomy:
    """Its header alone: names, types and shapes. Raises FormatError when it does not fit the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _HEADER_MAX):
            raise FormatError("Its header does not fit into the file.")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise FormatError("Its header is no JSON.") from error
    if not isinstance(header, dict):
        raise FormatError("Its header is no JSON object.")
    sizes: Counter[str] = Counter()
    parameters = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end <= size - 8 - length:
            raise FormatError(f"The tensor {name[:60]!r} lies outside of the file.")
        parameters += prod(entry["shape"])
        sizes[_TYPES.get(entry["dtype"], entry["dtype"].lower()[:16])] += end - begin
    return Anatomy(layers=len(header) - ("__metadata__" in header), parameters=parameters, weights_bytes=dict(sizes))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300].rstrip(".") if lines else type(error).__name__


if __name__ == "__main__":
    serve(prepare, BOUNDS, failed)

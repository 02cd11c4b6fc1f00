"""Small sound models in each format, as the makers of those formats write them, and packages around them."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import openvino
import openvino.opset13 as op
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save


def onnx_upscaler(width: int = 8) -> bytes:
    """Luma in, luma of twice the size out: two convolutions and a pixel shuffle."""
    random = np.random.default_rng(width)
    kernels = {"k1": (width, 1, 3, 3), "k2": (4, width, 3, 3)}
    tensors = [numpy_helper.from_array(random.normal(0, 0.1, s).astype(np.float32), n) for n, s in kernels.items()]
    nodes = [
        helper.make_node("Conv", ["y", "k1"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "k2"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["shown"], blocksize=2, mode="CRD"),
    ]
    return _onnx(nodes, tensors, ("y", ["n", 1, "h", "w"]), ("shown", ["n", 1, "2h", "2w"]))


def onnx_classifier(classes: int = 10, *, quantised: bool = False) -> bytes:
    """A picture of 32x32 in, a number for each class out; quantised: the weights are integers of eight bits."""
    weights = np.random.default_rng(classes).normal(0, 0.1, (3 * 32 * 32, classes)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["picture"], ["flat"], axis=1)]
    if quantised:
        scale = np.float32(np.abs(weights).max() / 127)
        tensors = [
            numpy_helper.from_array(np.round(weights / scale).astype(np.int8), "w"),
            numpy_helper.from_array(np.array(scale), "scale"),
        ]
        nodes += [helper.make_node("DequantizeLinear", ["w", "scale"], ["weights"])]
    else:
        tensors = [numpy_helper.from_array(weights, "weights")]
    nodes += [helper.make_node("MatMul", ["flat", "weights"], ["classes"])]
    return _onnx(nodes, tensors, ("picture", [1, 3, 32, 32]), ("classes", [1, classes]))


def _onnx(
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto],
    taken: tuple[str, Sequence[int | str]],
    given: tuple[str, Sequence[int | str]],
) -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in (taken, given)]
    graph = helper.make_graph(list(nodes), "net", [ends[0]], [ends[1]], list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def ir_segmenter() -> tuple[bytes, bytes]:
    """.xml and .bin of OpenVINO: a picture of 3 channels in, 5 maps of its size out."""
    picture = op.parameter([1, 3, 32, 48], np.float32, name="picture")
    kernel = op.constant(np.random.default_rng(0).normal(0, 0.1, (5, 3, 3, 3)).astype(np.float32))
    maps = op.convolution(picture, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "segmenter.xml"
        openvino.serialize(openvino.Model([maps], [picture], "segmenter"), str(xml))
        return xml.read_bytes(), xml.with_suffix(".bin").read_bytes()


def tflite_filter(outputs: int = 3) -> bytes:
    """A picture of 3 channels in, `outputs` of its size out: one convolution, in TensorFlow Lite's flatbuffer."""
    kernel = np.random.default_rng(outputs).normal(0, 0.1, (outputs, 3, 3, 3)).astype(np.float32)
    build = flatbuffers.Builder(4096)
    buffers = [_buffer(build, data) for data in (b"", kernel.tobytes(), np.zeros(outputs, np.float32).tobytes())]
    tensors = [
        _tensor(build, "picture", (1, 24, 32, 3), 0),
        _tensor(build, "kernel", kernel.shape, 1),
        _tensor(build, "bias", (outputs,), 2),
        _tensor(build, "shown", (1, 24, 32, outputs), 0),
    ]
    options = _table(build, {1: ("Int32", 1), 2: ("Int32", 1)}, 6)
    convolution = _table(
        build,
        {1: ("ref", _ints(build, (0, 1, 2))), 2: ("ref", _ints(build, (3,))), 3: ("Uint8", 1), 4: ("ref", options)},
        9,
    )
    graph = _table(
        build,
        {
            0: ("ref", _refs(build, tensors)),
            1: ("ref", _ints(build, (0,))),
            2: ("ref", _ints(build, (3,))),
            3: ("ref", _refs(build, [convolution])),
        },
        5,
    )
    code = _table(build, {0: ("Int8", 3), 2: ("Int32", 1), 3: ("Int32", 3)}, 4)
    model = _table(
        build,
        {
            0: ("Uint32", 3),
            1: ("ref", _refs(build, [code])),
            2: ("ref", _refs(build, [graph])),
            4: ("ref", _refs(build, buffers)),
        },
        8,
    )
    build.Finish(model, b"TFL3")
    return bytes(build.Output())


def _table(build: flatbuffers.Builder, fields: Mapping[int, tuple[str, int]], count: int) -> int:
    build.StartObject(count)
    for slot, (kind, value) in fields.items():
        if kind == "ref":
            build.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            getattr(build, f"Prepend{kind}Slot")(slot, value, 0)
    return int(build.EndObject())


def _tensor(build: flatbuffers.Builder, name: str, shape: Sequence[int], buffer: int) -> int:
    label, sizes = build.CreateString(name), _ints(build, shape)
    return _table(build, {0: ("ref", sizes), 2: ("Uint32", buffer), 3: ("ref", label)}, 8)


def _buffer(build: flatbuffers.Builder, data: bytes) -> int:
    if not data:
        return _table(build, {}, 3)
    build.StartVector(1, len(data), 16)
    build.head = build.head - len(data)
    build.Bytes[build.head : build.head + len(data)] = data
    return _table(build, {0: ("ref", build.EndVector())}, 3)


def _ints(build: flatbuffers.Builder, values: Sequence[int]) -> int:
    build.StartVector(4, len(values), 4)
    for value in reversed(values):
        build.PrependInt32(value)
    return int(build.EndVector())


def _refs(build: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    build.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        build.PrependUOffsetTRelative(offset)
    return int(build.EndVector())


def torchscript_filter() -> bytes:
    """A convolution over a picture of three channels, as torch.jit.trace writes it."""
    import torch

    torch.manual_seed(0)
    traced = torch.jit.trace(torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 32, 32))  # type: ignore[no-untyped-call]
    file = io.BytesIO()
    torch.jit.save(traced, file)
    return file.getvalue()


def pickled_checkpoint() -> bytes:
    """What torch.save writes."""
    import torch

    file = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, file)
    return file.getvalue()


def weights_alone() -> bytes:
    """Two tensors of different types."""
    return save({"a": np.zeros((4, 5), np.float32), "b": np.zeros(20, np.int8)})


def zipped(members: Mapping[str, bytes], *, stored: bool = False) -> bytes:
    """A ZIP, as APK, IPA and wheels are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def write_wild_folder(folder: Path) -> Path:
    """Twelve different models, three of them twice: in a folder, an APK, an IPA, a wheel, an archive in another."""
    xml, weights = ir_segmenter()
    upscaler, tflite = onnx_upscaler(), tflite_filter()
    files = {
        "loose/upscaler.onnx": upscaler,
        "loose/segmenter.xml": xml,
        "loose/segmenter.bin": weights,
        "loose/notes.txt": b"nothing of interest",
        "loose/config.xml": b"<?xml version='1.0'?><settings/>",
        "loose/weights.safetensors": weights_alone(),
        "loose/checkpoint.pth": pickled_checkpoint(),
        "shop.apk": zipped(
            {
                "classes.dex": b"dex\n035" + bytes(64),
                "assets/filter.tflite": tflite,
                "assets/renamed.dat": tflite_filter(2),
                "assets/classify.onnx": onnx_classifier(),
            },
            stored=True,
        ),
        "photo.ipa": zipped({"Payload/App.app/filter.lite": tflite, "Payload/App.app/filter4.lite": tflite_filter(4)}),
        "nets-1.0-py3-none-any.whl": zipped(
            {
                "nets/upscaler.onnx": upscaler,
                "nets/wide.onnx": onnx_upscaler(16),
                "nets/small.onnx": onnx_classifier(5, quantised=True),
                "nets/program.pt": torchscript_filter(),
                "nets/ir/segmenter.xml": xml,
                "nets/ir/segmenter.bin": weights,
            }
        ),
        "bundle.zip": zipped({"inner/split.apk": zipped({"assets/many.onnx": onnx_classifier(100)})}),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder

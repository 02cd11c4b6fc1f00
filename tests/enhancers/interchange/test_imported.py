"""Networks out as ONNX and other people's in: the same picture, measured before it is offered, nothing hostile."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import low_frames, random_weights, with_chroma
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from titles import CLIP, TITLE_ID, prepared_title
from torch.nn import functional

from abr.core.device import Device, DeviceProfile
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.errors import FormatError, InputError
from abr.records import dumps, load
from enhancers.cli.models import export, import_model
from enhancers.interchange.compact import compact_as_onnx
from enhancers.interchange.import_network import read_network
from enhancers.interchange.onnx_export import export_onnx
from enhancers.measurement import device_profile as profiling
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.networks.plain import parse
from enhancers.runtime.backends.onnx_graph import dumps_onnx, dumps_residual
from enhancers.runtime.loader import open_enhancer, open_weights
from enhancers.runtime.onnx_check import loads_onnx
from enhancers.runtime.sample_pictures import make_pictures

FLOAT = TensorProto.FLOAT


def invoke(command: object, *options: object) -> Result:
    return CliRunner().invoke(command, [str(option) for option in options], catch_exceptions=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1.5, 2, 3, 4])
def test_an_exported_network_shows_what_ours_shows_and_comes_back_in(scale: float, tmp_path: Path) -> None:
    file = tmp_path / "out.onnx"
    told = json.loads(invoke(export, "generic", "--scale", scale, "--tier", "low", "--onnx", file, "--json").stdout)
    assert told["difference_max"] <= 2
    weights = loads_chunks(catalog.generic_chunks(catalog.architecture(scale, "low")))
    back = read_network(file)
    assert (back.architecture.scale, back.channels, back.white) == (scale, 1, 1.0)
    assert back.macs_per_output_px == pytest.approx(weights.architecture.macs_per_output_px, rel=0.05)
    sizes = {"size_px": (64, 36), "display_px": (round(64 * scale), round(36 * scale))}
    frame = low_frames(64, 36)[1]
    ours = open_weights(weights, "", **sizes, backend="torch").enhance(frame)
    theirs = open_weights(back, "", **sizes).enhance(frame)
    assert np.abs(ours.y.astype(int) - theirs.y).max() <= 2
    assert np.array_equal(ours.u, theirs.u)


@pytest.mark.parametrize("name", ["plain-m1c8x1.5d2", "plain-m1c8x2d2", "plain-m1c8x3", "plain-m1c8x4"])
def test_a_network_with_chroma_is_exported_as_it_is_shown(name: str, tmp_path: Path) -> None:
    """All three planes, with chroma where a decoder says that it lies."""
    weights = with_chroma(random_weights(parse(name)))
    assert export_onnx(weights, "", tmp_path / "coloured.onnx") <= 3


def test_a_network_that_adds_more_than_a_byte_holds_is_exported_as_it_is_shown(tmp_path: Path) -> None:
    """Sharp edges make a trained network add more than ±127, where ours saturates."""
    weights = random_weights(parse("plain-m4c16x2"))
    tail = weights.architecture.tail.name
    tensors = {**weights.tensors, f"{tail}.weight": weights.tensors[f"{tail}.weight"] * 40}
    strong = replace(weights, tensors=tensors)
    assert export_onnx(strong, "", tmp_path / "strong.onnx") <= 3
    (wide,) = {np.abs(unclipped_residual(strong)).max()}
    assert wide > 200, "it does saturate"


def unclipped_residual(weights: Weights) -> np.ndarray:
    """What the network adds to noise, in code values, before anything saturates."""
    session = onnxruntime.InferenceSession(dumps_residual(weights), providers=["CPUExecutionProvider"])
    noise = make_pictures(160, 90)[0].y
    return np.asarray(session.run(None, {"y": noise[None, None].astype(np.float32) / 255})[0]) * 255


def compact(channels: int, *, width: int = 8, scale: int = 2, gain: float = 0.1) -> dict[str, np.ndarray]:
    """A compact network's tensors: two convolutions with a PReLU between them, which adds nothing to flat pictures."""
    random = np.random.default_rng(0)
    edges = random.normal(0, 0.3, (width, channels, 3, 3))
    return {
        "body.0.weight": (edges - edges.mean((1, 2, 3), keepdims=True)).astype(np.float32),
        "body.0.bias": np.zeros(width, np.float32),
        "body.1.weight": np.linspace(0.05, 0.4, width, dtype=np.float32),
        "body.2.weight": random.normal(0, gain, (channels * scale**2, width, 3, 3)).astype(np.float32),
        "body.2.bias": np.zeros(channels * scale**2, np.float32),
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_a_compact_network_lifts_luma_as_its_maker_would(channels: int, tmp_path: Path) -> None:
    """Against torch: luma as it is, or as grey RGB in full range, of which the BT.709 luma is taken."""
    tensors = compact(channels)
    (tmp_path / "net.safetensors").write_bytes(save(tensors))
    network = read_network(tmp_path / "net.safetensors")
    frame = low_frames(64, 36)[0]
    sizes = {"size_px": (64, 36), "display_px": (128, 72)}
    shown = open_weights(network, "", **sizes).enhance(frame).y
    held = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    y = torch.from_numpy(frame.y.astype(np.float32))
    x = (y / 255 if channels == 1 else (y - 16) / 219).expand(1, channels, 36, 64)
    inner = functional.conv2d(x, held["body.0.weight"], held["body.0.bias"], padding=1)
    inner = functional.prelu(inner, held["body.1.weight"])
    inner = functional.conv2d(inner, held["body.2.weight"], held["body.2.bias"], padding=1)
    made = functional.pixel_shuffle(inner, 2) + functional.interpolate(x, scale_factor=2)
    if channels == 3:
        made = torch.tensordot(torch.tensor([[0.2126, 0.7152, 0.0722]]), made, ([1], [1])) * 219 + 16
    else:
        made = made * 255
    expected = made.reshape(72, 128).clamp(0, 255).round().numpy()
    assert np.abs(shown - expected).max() <= 1
    assert np.abs(shown.astype(int) - frame.y.repeat(2, 0).repeat(2, 1)).max() > 3, "it did something"


def as_half(model: onnx.ModelProto) -> None:
    """Half floats throughout, as exporters for GPUs write them."""
    for tensor in model.graph.initializer:
        if tensor.name != "scales":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16


def as_nhwc(model: onnx.ModelProto) -> None:
    """Channels behind the pixels, as TensorFlow has them."""
    nodes = list(model.graph.node)
    for node in nodes:
        node.input[:] = ["inner.x" if name == "x" else name for name in node.input]
        node.output[:] = ["inner.shown" if name == "shown" else name for name in node.output]
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Transpose", ["x"], ["inner.x"], perm=[0, 3, 1, 2]),
            *nodes,
            helper.make_node("Transpose", ["inner.shown"], ["shown"], perm=[0, 2, 3, 1]),
        ]
    )
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        channels = dims[1].dim_value
        dims[1].dim_param, dims[3].dim_value = "rows", channels


def as_one_size(model: onnx.ModelProto) -> None:
    """With the size of the exporter's example written down."""
    for value, times in ((model.graph.input[0], 1), (model.graph.output[0], 2)):
        dims = value.type.tensor_type.shape.dim
        is_nhwc = dims[3].dim_value in (1, 3)
        for place, size in zip((0, 1, 2) if is_nhwc else (0, 2, 3), (1, 40 * times, 24 * times), strict=True):
            dims[place].dim_value = size


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "exported",
    [[as_half], [as_nhwc], [as_one_size], [as_nhwc, as_half, as_one_size]],
    ids=lambda steps: "+".join(step.__name__ for step in steps),
)
def test_other_layouts_of_the_same_network_show_the_same_picture(
    channels: int, exported: list[Callable[[onnx.ModelProto], None]], tmp_path: Path
) -> None:
    plain = compact_as_onnx(save(compact(channels)))
    model = onnx.load_model_from_string(plain)
    for change in exported:
        change(model)
    onnx.checker.check_model(model)
    (tmp_path / "plain.onnx").write_bytes(plain)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    assert read_network(tmp_path / "plain.onnx").data == plain, "what is usual stays as it is"
    network = read_network(tmp_path / "other.onnx")
    assert (network.channels, network.architecture.scale) == (channels, 2)
    frame, sizes = low_frames(64, 36)[0], {"size_px": (64, 36), "display_px": (128, 72)}
    shown = open_weights(network, "", **sizes).enhance(frame).y
    expected = open_weights(loads_onnx(plain), "", **sizes).enhance(frame).y
    assert np.abs(shown.astype(int) - expected).max() <= 1
    again = loads_onnx(network.data)
    assert again.architecture == network.architecture, "a player that fetches it agrees"


def test_a_network_that_really_has_one_size_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(compact_as_onnx(save(compact(1))))
    as_one_size(model)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 80, 48], np.int64), "size"))
    reshape = helper.make_node("Reshape", ["sum", "size"], ["shown"])
    model.graph.node[-1].output[0] = "sum"
    model.graph.node.append(reshape)
    (tmp_path / "one.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError) as refusal:
        read_network(tmp_path / "one.onnx")
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


@pytest.fixture
def library(tmp_path: Path) -> Path:
    shutil.copytree(prepared_title()[1], tmp_path / "library" / TITLE_ID)
    return tmp_path / "library"


def test_a_users_network_is_measured_and_offered_like_any_other(library: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.onnx"
    model.write_bytes(dumps_onnx(loads_chunks(catalog.generic_chunks(catalog.architecture(2, "low")))))
    options = [model, TITLE_ID, "--library", library, "--source", CLIP, "--tier", "medium", "--vmaf-every", "29"]
    told = json.loads(invoke(import_model, *options, "--json").stdout)
    (rung,) = told["rungs"]
    assert (rung["rendition"], rung["offered"]) == ("360p", True)
    assert rung["enhanced"]["vmaf_neg"] > rung["plain"]["vmaf_neg"]
    table = load(library / TITLE_ID / ENHANCEMENTS_FILE, EnhancementTable)
    (offer,) = table.entry("own-medium").offers
    assert offer.architecture == told["architecture"]
    (chunk,) = [(library / TITLE_ID / chunk.file).read_bytes() for chunk in offer.chunks]
    opened = open_enhancer(offer, [chunk], size_px=(640, 360), display_px=(1280, 720))
    assert opened.descriptor.name == offer.architecture
    with pytest.raises(FormatError, match="fetch it again"):
        open_enhancer(offer, [chunk[:-1] + b"x"], size_px=(640, 360), display_px=(1280, 720))


def test_a_network_that_only_blurs_is_not_offered(library: Path, tmp_path: Path) -> None:
    """Nearest neighbour is worse than the player's own scaler."""
    (tmp_path / "net.safetensors").write_bytes(save(compact(1, gain=0.0)))
    options = [tmp_path / "net.safetensors", TITLE_ID, "--library", library, "--source", CLIP, "--vmaf-every", "29"]
    assert "not offered" in invoke(import_model, *options).stdout
    assert load(library / TITLE_ID / ENHANCEMENTS_FILE, EnhancementTable).enhancers == ()


def test_a_device_measures_imported_networks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "QUICK_RUNS", 3)
    monkeypatch.setattr(profiling, "SIZES_PX", {2.0: ((64, 36),)})
    network = loads_onnx(compact_as_onnx(save(compact(3))))
    device = Device(name="a", processor="b", cores=1, memory_bytes=1)
    path = tmp_path / "device.json"
    for _ in range(2):
        found = profiling.profile_networks(path, DeviceProfile(device=device, measurements=()), [network], quick=True)
    assert found == load(path, DeviceProfile)
    best = found.best(str(network.architecture), 64, 36)
    assert best is not None and best.backend == "openvino-fp32"


@cache
def sound() -> bytes:
    return compact_as_onnx(save(compact(1)))


def changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_model_from_string(sound())
    change(model)
    data: bytes = model.SerializeToString()
    return data


def _weight(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(each for each in model.graph.initializer if each.name == name)


def _nan(model: onnx.ModelProto) -> None:
    weight = _weight(model, "body.0.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def _elsewhere(model: onnx.ModelProto) -> None:
    weight = _weight(model, "body.0.weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../../etc/passwd")


def _branching(model: onnx.ModelProto) -> None:
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("shown", FLOAT, None)])
    model.graph.initializer.append(true)
    model.graph.node.append(helper.make_node("If", ["true"], ["other"], then_branch=body, else_branch=body))


def _foreign_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _strange_operation(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Expand", ["x", "scales"], ["huge"]))


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("z", FLOAT, ["n", 1, "height", "width"]))


def _one_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64


def _five_channels(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


def _enormous(model: onnx.ModelProto) -> None:
    scales = _weight(model, "scales")
    scales.CopyFrom(numpy_helper.from_array(np.array([1, 1, 3e5, 3e5], np.float32), "scales"))


def _no_picture(model: onnx.ModelProto) -> None:
    weight = _weight(model, "body.2.bias")
    weight.CopyFrom(numpy_helper.from_array(np.full(4, 100, np.float32), weight.name))


HARM = (
    _nan,
    _elsewhere,
    _branching,
    _foreign_domain,
    _strange_operation,
    _two_inputs,
    _one_size,
    _five_channels,
    _enormous,
    _no_picture,
)


@pytest.mark.parametrize("harm", HARM)
def test_a_hostile_network_is_refused_in_one_sentence(harm: Callable[[onnx.ModelProto], None]) -> None:
    with pytest.raises(FormatError) as refusal:
        loads_onnx(changed(harm))
    assert len(str(refusal.value)) < 400
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["net.onnx", "net.safetensors"])
def test_pickles_noise_and_giants_are_refused(name: str, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("unpickled",))

    file = tmp_path / name
    torch.save({"x": torch.zeros(1)}, file)
    with pytest.raises(FormatError, match="pickle"):
        read_network(file)
    for data in (pickle.dumps(Bomb()), b"", b"\x08noise", bytes(17 << 20)):
        file.write_bytes(data)
        with pytest.raises(FormatError):
            read_network(file)


@settings(deadline=None, max_examples=60)
@given(place=st.integers(0, 6000), noise=st.binary(min_size=1, max_size=6))
def test_damage_is_refused_or_harmless(place: int, noise: bytes) -> None:
    data = bytearray(sound())
    data[place : place + len(noise)] = noise
    try:
        loads_onnx(bytes(data))
    except FormatError as error:
        assert len(str(error)) < 400


def test_safetensors_of_other_networks_are_refused() -> None:
    for change in (
        {"conv.weight": np.zeros((3, 3), np.float32)},
        {"body.1.weight": np.zeros(5, np.float32)},
        {"body.2.bias": np.zeros(5, np.float32)},
        {"body.3.weight": np.zeros((7, 4, 3, 3), np.float32), "body.3.bias": np.zeros(7, np.float32)},
    ):
        with pytest.raises(FormatError):
            compact_as_onnx(save(compact(1) | change))


def test_a_network_that_fits_no_rung_says_so(library: Path, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(save(compact(1, scale=4)))
    for rung in ("180p",):
        shutil.rmtree(library / TITLE_ID / "video" / rung)
    title = json.loads((library / TITLE_ID / "title.json").read_bytes())
    title["renditions"] = [each for each in title["renditions"] if each["id"] != "180p"]
    (library / TITLE_ID / "title.json").write_bytes(dumps(title))
    with pytest.raises(InputError, match="4 times larger"):
        invoke(import_model, tmp_path / "net.safetensors", TITLE_ID, "--library", library, "--source", CLIP)


def test_importing_ends_when_its_time_is_up(library: Path, tmp_path: Path) -> None:
    """In a process of its own, which is ended."""
    model = tmp_path / "mine.onnx"
    model.write_bytes(dumps_onnx(loads_chunks(catalog.generic_chunks(catalog.architecture(2, "low")))))
    options = [model, TITLE_ID, "--library", library, "--source", CLIP, "--time-limit", "0.1s"]
    command = [sys.executable, "-m", "abr", "import-model", *map(str, options)]
    before = sorted(library.rglob("*"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Importing mine.onnx was not done after 0.1 s" in done.stderr
    assert [path for path in sorted(library.rglob("*")) if path.is_file()] == [
        path for path in before if path.is_file()
    ]

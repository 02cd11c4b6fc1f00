"""Weights on disk: round trips, and files that mean harm."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import low_frames, random_weights
from safetensors.numpy import load, save

from abr.core.enhancement import Chunk, Offer
from abr.core.title import Quality
from abr.errors import FormatError
from abr.records import dumps, loads
from enhancers.networks.checkpoint import digest, dumps_chunks, loads_chunks, verify, weights_digest
from enhancers.networks.plain import parse
from enhancers.networks.quantize import best_range, dequantize, quantize
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.loader import open_enhancer

QUALITY = Quality(vmaf=(60.0,), vmaf_neg=(59.0,), ssim=(0.9,), psnr_y_db=(30.0,))


@cache
def chunks(storage: str = "F16") -> tuple[bytes, ...]:
    return tuple(dumps_chunks(random_weights(parse("plain-m4c16x2d2"), (1, 4)), storage=storage))


def rewritten(data: bytes, change: Callable[[dict[str, np.ndarray], dict[str, Any]], None]) -> bytes:
    """The chunk with its tensors and metadata changed."""
    length = struct.unpack("<Q", data[:8])[0]
    metadata = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["toprung"])
    tensors = dict(load(data))
    change(tensors, metadata)
    return save(tensors, {"toprung": json.dumps(metadata)})


@settings(deadline=None, max_examples=25)
@given(
    architecture=st.sampled_from(
        ["plain-m3c8x2", "plain-m5c12x3", "plain-m4c16x4", "plain-m2c8x2d2", "plain-m2c8x1.5d2"]
    ),
    storage=st.sampled_from(["F32", "F16", "I8"]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_weights_read_back(architecture: str, storage: str, seed: int, data: st.DataObject) -> None:
    full = parse(architecture)
    exits = (*sorted(data.draw(st.sets(st.integers(1, full.depth - 1), max_size=3))), full.depth)
    weights = random_weights(full, exits, seed=seed)
    read = loads_chunks(dumps_chunks(weights, storage=storage))
    assert (read.architecture, read.exits) == (full, exits)
    assert read.ranges == pytest.approx(weights.ranges)
    assert read.tensors.keys() == weights.tensors.keys()
    tolerance = {"F32": 0.0, "F16": 1e-3, "I8": 1 / 127}[storage]
    for name, tensor in weights.tensors.items():
        assert np.abs(read.tensors[name] - tensor).max() <= tolerance * np.abs(tensor).max(), name


def test_int8_weights_read_back_exactly_a_second_time() -> None:
    read = loads_chunks(chunks("I8"))
    assert dumps_chunks(read, storage="I8") == list(chunks("I8"))


def test_every_prefix_of_chunks_is_a_network() -> None:
    assert str(loads_chunks(chunks()[:1]).architecture) == "plain-m1c16x2d2"
    assert str(loads_chunks(chunks()).architecture) == "plain-m4c16x2d2"


def test_chunks_out_of_order_or_of_another_network_are_refused() -> None:
    with pytest.raises(FormatError, match="out of order"):
        loads_chunks(chunks()[1:])
    with pytest.raises(FormatError, match="out of order"):
        loads_chunks([chunks()[0], chunks()[0]])
    other = dumps_chunks(random_weights(parse("plain-m4c8x2d2"), (1, 4)))
    with pytest.raises(FormatError, match="belongs to"):
        loads_chunks([chunks()[0], other[1]])


def _nan(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    tensors["head.weight"][0, 0, 0, 0] = np.nan


def _infinite(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    tensors["block1.bias"][0] = np.inf


def _extreme(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    tensors["block1.bias"][0] = 1e30


def _lacking(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    del tensors["tail1.bias"]


def _strange(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    tensors["backdoor"] = np.zeros(3, np.float32)


def _reshaped(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    tensors["block1.weight"] = tensors["block1.weight"].reshape(16, 16, 9)


def _wide(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    tensors["block1.bias"] = np.zeros(17, np.float32)


def _double(tensors: dict[str, np.ndarray], _: dict[str, Any]) -> None:
    tensors["head.weight"] = tensors["head.weight"].astype(np.float64)


def _other_format(_: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    metadata["format"] = "toprung-plain-9"


def _unnamed(_: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    del metadata["architecture"]


def _closed(_: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    metadata["surprise"] = "1"


def _huge(_: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    metadata["architecture"] = "plain-m64c256x4"


def _absurd(_: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    metadata["architecture"] = "plain-m99c999x4"


def _negative_range(_: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    metadata["ranges"] = {"head": -1.0, "block1": 1.0}


def _foreign_range(_: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    metadata["ranges"] = {"head": 1.0}


@pytest.mark.parametrize(
    "change",
    [
        _nan,
        _infinite,
        _extreme,
        _lacking,
        _strange,
        _reshaped,
        _wide,
        _double,
        _other_format,
        _unnamed,
        _closed,
        _huge,
        _absurd,
        _negative_range,
        _foreign_range,
    ],
)
def test_hostile_weights_are_refused_in_one_sentence(
    change: Callable[[dict[str, np.ndarray], dict[str, Any]], None],
) -> None:
    with pytest.raises(FormatError) as refusal:
        loads_chunks([rewritten(chunks()[0], change)])
    assert len(str(refusal.value)) < 400
    assert "\n" not in str(refusal.value)


def test_a_pickle_is_never_opened() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("unpickled",))

    with pytest.raises(FormatError, match="not a safetensors file"):
        loads_chunks([pickle.dumps(Bomb())])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        loads_chunks([data])


@settings(deadline=None, max_examples=300)
@given(place=st.integers(0, 1500), noise=st.binary(min_size=1, max_size=8), cut=st.integers(0, 40))
def test_damage_is_refused_or_harmless(place: int, noise: bytes, cut: int) -> None:
    data = bytearray(chunks()[0])
    data[place : place + len(noise)] = noise
    try:
        weights = loads_chunks([bytes(data[: len(data) - cut])])
    except FormatError:
        return
    assert all(np.isfinite(tensor).all() for tensor in weights.tensors.values())


def test_a_header_that_promises_gigabytes_is_refused() -> None:
    header = json.dumps({"head.weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4 << 40]}}).encode()
    with pytest.raises(FormatError):
        loads_chunks([struct.pack("<Q", len(header)) + header])
    with pytest.raises(FormatError, match="at most"):
        loads_chunks([bytes(17 << 20)])


def test_bytes_of_another_digest_are_refused() -> None:
    assert verify(b"abc", digest(b"abc"), "x") == b"abc"
    with pytest.raises(FormatError, match="fetch it again"):
        verify(b"abd", digest(b"abc"), "x")


def _offer(held: tuple[bytes, ...], **changes: object) -> Offer:
    named = tuple(
        Chunk(file=f"enhancers/{i}", size_bytes=len(data), sha256=digest(data)) for i, data in enumerate(held)
    )
    fields = {
        "rendition": "240p",
        "architecture": "plain-m4c16x2d2",
        "weights_sha256": weights_digest(held),
        "chunks": named,
        "macs_per_output_px": 100.0,
        "quality": QUALITY,
    }
    return Offer(**fields | changes)


def test_an_offer_opens_with_its_own_chunks_and_no_others() -> None:
    held = chunks()
    sizes = {"size_px": (64, 36), "display_px": (128, 72)}
    opened = open_enhancer(_offer(held), held, **sizes)
    assert opened.descriptor.name == "plain-m4c16x2d2"
    for wrong in (held[:1], (held[1], held[0]), ()):
        with pytest.raises(FormatError):
            open_enhancer(_offer(held), wrong, **sizes)
    with pytest.raises(FormatError, match="are those of"):
        open_enhancer(_offer(held, architecture="plain-m4c16x2"), held, **sizes)
    with pytest.raises(FormatError, match="other weights"):
        open_enhancer(_offer((), architecture="plain-m2c32x4", weights_sha256="0" * 64), (), **sizes)


@pytest.mark.parametrize("backend", ["torch", "openvino-int8"])
def test_a_weaker_offer_adds_so_much_less_to_the_plain_picture(backend: str) -> None:
    """What is added at half strength is half of what is added in full, but for rounding."""
    held = chunks("I8")
    sizes = {"size_px": (64, 36), "display_px": (128, 72)}
    frame = low_frames(64, 36)[0]
    plain = PlainScaler(64, 36, 128, 72).enhance(frame).y.astype(float)
    full, half = (
        open_enhancer(_offer(held, strength=strength), held, **sizes, backend=backend).enhance(frame).y.astype(float)
        for strength in (1.0, 0.5)
    )
    free = (full > 0) & (full < 255) & (np.abs(full - plain) < 120)
    added, weaker = (full - plain)[free], (half - plain)[free]
    assert np.abs(added).max() > 20, "a network that does nothing would prove nothing"
    assert np.abs(weaker - added / 2).max() <= 1


def test_a_strength_is_above_nothing_and_at_most_all() -> None:
    for strength in (0.0, -1.0, 1.5):
        with pytest.raises(FormatError):
            loads(dumps(_offer((), strength=strength)), Offer, what="offer")


@settings(deadline=None)
@given(st.integers(0, 100))
def test_kernels_survive_eight_bits(seed: int) -> None:
    weight = np.random.default_rng(seed).normal(0, 0.1, (5, 3, 3, 3)).astype(np.float32)
    kernel, scale = quantize(weight)
    assert kernel.dtype == np.int8
    assert np.abs(kernel).max() <= 127
    assert np.all(np.abs(dequantize(kernel, scale) - weight) <= scale[:, None, None, None] / 2 + 1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), power=st.floats(0.5, 6))
def test_a_range_never_costs_more_than_the_full_one(seed: int, power: float) -> None:
    values = (np.random.default_rng(seed).random(4000) ** power).astype(np.float32)
    peak, top = float(values.max()), best_range(values)

    def error(limit: float) -> float:
        step = limit / 255
        return float(np.mean((np.clip(np.rint(values / step), 0, 255) * step - values) ** 2))

    assert 0.3 * peak <= top <= peak * 1.0001
    assert error(top) <= error(peak) * 1.0001


def test_a_range_of_nothing_is_still_a_range() -> None:
    assert best_range(np.zeros(10, np.float32)) == 1.0

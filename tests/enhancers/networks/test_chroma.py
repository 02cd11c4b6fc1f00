"""Chroma parts: their names, their place in chunks, and that weights without one are what they were."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from networks import low_frames, random_weights, with_chroma
from safetensors.numpy import load, save

from abr.errors import FormatError
from enhancers.networks import catalog
from enhancers.networks.checkpoint import CHROMA_FORMAT, FORMAT, dumps_chunks, loads_chunks
from enhancers.networks.chroma import fold_planes, parse_chroma
from enhancers.networks.plain import parse


def described(chunk: bytes) -> dict[str, object]:
    header = msgspec.json.decode(chunk[8 : 8 + int.from_bytes(chunk[:8], "little")])
    return msgspec.json.decode(header["__metadata__"]["toprung"])


def with_description(chunk: bytes, **changes: object) -> bytes:
    return save(load(chunk), {"toprung": msgspec.json.encode(described(chunk) | changes).decode()})


@pytest.mark.parametrize("name", ["plain-m3c8x4", "plain-m3c8x2d2", "plain-m3c8x1.5d2"])
def test_the_first_chunk_carries_chroma_for_every_exit(name: str) -> None:
    weights = with_chroma(random_weights(parse(name), (1, 3)))
    chunks = dumps_chunks(weights, storage="F32")
    assert [described(chunk)["format"] for chunk in chunks] == [CHROMA_FORMAT, FORMAT]
    for count in (1, 2):
        read = loads_chunks(chunks[:count])
        assert read.chroma == weights.chroma
        part = [key for key in weights.tensors if key.startswith("chroma.")]
        assert part and all(np.array_equal(read.tensors[key], weights.tensors[key]) for key in part)
        assert {layer.name for layer in weights.chroma.layers[:-1]} <= read.ranges.keys()


def test_weights_without_chroma_are_written_as_ever() -> None:
    weights = random_weights(parse("plain-m2c8x4"), (2,))
    (chunk,) = dumps_chunks(weights)
    assert described(chunk)["format"] == FORMAT
    assert "chroma" not in described(chunk)
    assert loads_chunks([chunk]).chroma is None


def test_luma_chunks_after_the_first_do_not_change_with_chroma() -> None:
    weights = random_weights(parse("plain-m3c8x4"), (1, 3))
    assert dumps_chunks(with_chroma(weights))[1] == dumps_chunks(weights)[1]


@pytest.mark.parametrize(
    "changes", [{"format": FORMAT}, {"chroma": "m99c999"}, {"chroma": "m2c16;"}, {"chroma": "m3c16"}]
)
def test_a_chroma_part_that_is_not_as_described_is_refused(changes: dict[str, object]) -> None:
    (chunk,) = dumps_chunks(with_chroma(random_weights(parse("plain-m1c8x4"))))
    with pytest.raises(FormatError):
        loads_chunks([with_description(chunk, **changes)])


def test_only_a_first_chunk_may_hold_chroma() -> None:
    weights = random_weights(parse("plain-m3c8x4"), (1, 3))
    first, second = dumps_chunks(weights)
    with pytest.raises(FormatError, match="first chunk"):
        loads_chunks([first, with_description(second, format=CHROMA_FORMAT, chroma="m2c16")])


@pytest.mark.parametrize("scale", sorted(catalog.SQUEEZES))
def test_chroma_costs_three_tenths_of_the_lightest_tier_at_most(scale: float) -> None:
    luma, *_ = (catalog.architecture(scale, tier) for tier in catalog.TIER_DEPTHS)
    chroma = catalog.chroma_architecture(scale)
    assert chroma.macs_per_output_px <= 0.3 * luma.macs_per_output_px
    weights = replace(with_chroma(random_weights(luma, ready=False), ready=False), chroma=chroma)
    assert weights.macs_per_output_px == luma.macs_per_output_px + chroma.macs_per_output_px


@pytest.mark.parametrize(("name", "size_px"), [("plain-m1c8x4", (35, 19)), ("plain-m1c8x1.5d2", (34, 18))])
def test_planes_are_folded_cell_by_cell_and_repeated_at_the_edges(name: str, size_px: tuple[int, int]) -> None:
    architecture = parse_chroma("m1c8", parse(name))
    frame = low_frames(*size_px)[1]
    folded = fold_planes(architecture, *frame.planes()).astype(int) + 128
    columns, rows = architecture.grid(*size_px)
    assert folded.shape == (architecture.layers[0].inputs, rows, columns)
    fold, squeeze = architecture.luma_fold, architecture.squeeze
    assert np.array_equal(folded[: fold**2, 1, 2].reshape(fold, fold), frame.y[fold : 2 * fold, 2 * fold : 3 * fold])
    u = folded[fold**2 : fold**2 + squeeze**2, 1, 2].reshape(squeeze, squeeze)
    assert np.array_equal(u, frame.u[squeeze : 2 * squeeze, 2 * squeeze : 3 * squeeze])
    assert folded[fold**2 - 1, -1, -1] == frame.y[-1, -1]
    assert folded[-1, -1, -1] == frame.v[-1, -1]

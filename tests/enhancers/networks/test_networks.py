"""The plain family: names, exits, branches that collapse, and what absorbing weights means."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import random_trunk, random_weights

from abr.errors import FormatError
from enhancers.networks.checkpoint import dumps_chunks, loads_chunks
from enhancers.networks.plain import PlainArchitecture, parse
from enhancers.networks.plain_torch import PlainTrunk, run_collapsed

ARCHITECTURES = st.builds(
    PlainArchitecture,
    depth=st.integers(1, 64),
    width=st.integers(1, 256),
    scale=st.sampled_from([1.5, 2.0, 3.0, 4.0]),
    squeeze=st.sampled_from([1, 2]),
).filter(lambda architecture: (architecture.squeeze * architecture.scale).is_integer())


@given(ARCHITECTURES)
def test_an_architecture_reads_back(architecture: PlainArchitecture) -> None:
    assert parse(str(architecture)) == architecture


@given(st.text(max_size=24) | st.from_regex(r"plain-m\d{0,4}c\d{0,4}x\d", fullmatch=True))
def test_anything_else_is_refused(text: str) -> None:
    try:
        assert str(parse(text)) == text
    except FormatError as error:
        assert "plain-m4c32x4" in str(error)


@given(st.lists(st.integers(1, 256), min_size=2, max_size=11), st.integers(1, 10))
def test_layers_may_differ_and_exits_are_told_as_what_they_are(channels: list[int], depth: int) -> None:
    architecture = parse("plain-m1c8x4").with_channels(channels)
    assert parse(str(architecture)) == architecture
    assert [layer.outputs for layer in architecture.layers] == [*channels, 16]
    if depth < len(channels):
        assert architecture.at_exit(depth) == parse("plain-m1c8x4").with_channels(channels[: depth + 1])


@pytest.mark.parametrize("name", ["plain-m2c8-8-8x4", "plain-m2c8-16x4", "plain-m1c8-016x4", "plain-m1c8-300x4"])
def test_one_network_has_one_name(name: str) -> None:
    with pytest.raises(FormatError, match="plain-m2c24-16-8x4"):
        parse(name)


def test_macs_are_counted_at_the_resolution_where_they_run() -> None:
    # 9·(1·16 + 4·16·16 + 16·16) multiplications for each of the low-resolution pixels that make 16 shown ones.
    assert parse("plain-m4c16x4").macs_per_output_px == 9 * (16 + 4 * 256 + 256) / 16
    assert parse("plain-m4c16x1.5d2").macs_per_output_px == 9 * (4 * 16 + 4 * 256 + 16 * 9) / 9
    assert parse("plain-m4c16x2d2").macs_per_output_px == 9 * (64 + 4 * 256 + 256) / 16


@pytest.mark.parametrize("architecture", ["plain-m6c16x4", "plain-m6c16x3", "plain-m6c16x2d2", "plain-m6c16x1.5d2"])
def test_an_exit_is_bit_for_bit_the_sliced_network(architecture: str) -> None:
    full = parse(architecture)
    trunk = random_trunk(full, (1, 4, 6))
    y = torch.rand(2, 1, 24, 32, generator=torch.Generator().manual_seed(1))
    chunks = dumps_chunks(random_weights(full, (1, 4, 6), ready=False), storage="F32")
    with torch.inference_mode():
        residuals = trunk(y)
        for count, (depth, residual) in enumerate(zip((1, 4, 6), residuals, strict=True), start=1):
            sliced = loads_chunks(chunks[:count])
            assert sliced.architecture == full.at_exit(depth)
            tensors = {name: torch.tensor(tensor) for name, tensor in sliced.tensors.items()}
            assert torch.equal(run_collapsed(sliced.architecture, tensors, y), residual)


def test_branches_collapse_to_the_sum_of_their_outputs() -> None:
    """The collapsed kernel does what the branches would do if each ran for itself."""
    trunk = random_trunk(parse("plain-m1c8x2"), (1,))
    conv = trunk.convolutions()["block1"]
    with torch.no_grad():
        conv.point.normal_(generator=torch.Generator().manual_seed(2))
    x = torch.rand(1, 8, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    conv = conv.double()
    convolve = torch.nn.functional.conv2d
    with torch.no_grad():
        apart = convolve(x, conv.full, conv.bias, padding=1) + convolve(x, conv.point)
        apart += convolve(convolve(x, conv.expand, padding=1), conv.project[:, :, None, None])
        assert torch.allclose(conv(x), apart, atol=1e-12)


def test_absorbed_weights_are_what_the_trunk_then_is() -> None:
    architecture = parse("plain-m3c16x4")
    given_weights = random_trunk(architecture, (3,), seed=5).collapse()
    trunk = PlainTrunk(architecture, (3,), seed=9)
    trunk.absorb(given_weights)
    for name, tensor in trunk.collapse().items():
        assert torch.allclose(tensor, given_weights[name], atol=1e-6), name


def test_absorbing_takes_only_what_fits() -> None:
    """A ×2 network starts from the ×4 network's blocks; its own head and tail stay as they were."""
    trunk = PlainTrunk(parse("plain-m3c16x2"), (3,), seed=9)
    tail = trunk.collapse()["tail3.weight"]
    other = random_trunk(parse("plain-m3c16x4"), (3,), seed=5).collapse()
    trunk.absorb(other)
    assert torch.allclose(trunk.collapse()["block2.weight"], other["block2.weight"], atol=1e-6)
    assert torch.equal(trunk.collapse()["tail3.weight"], tail)

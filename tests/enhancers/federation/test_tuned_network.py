"""The tuned network as numbers in a row and as a file, and what is refused where these are a stranger's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from abr.core.enhancement import Tier
from abr.errors import FormatError
from enhancers.cli.models import export
from enhancers.federation.tuned_network import count_values, generic_network, loads_network
from enhancers.interchange.import_network import read_own
from enhancers.networks import catalog
from enhancers.networks.checkpoint import dumps_chunks
from enhancers.runtime.onnx_check import loads_onnx


@pytest.fixture(scope="module")
def network():
    return generic_network(2.0, Tier.LOW)


def test_numbers_in_a_row_are_the_whole_network(network):
    values = network.values
    assert len(values) == count_values(network.architecture) == 24304
    random = np.random.default_rng(1).normal(size=len(values))
    moved = network.moved(random)
    assert moved.values - values == pytest.approx(random, abs=1e-6)
    assert moved.moved(-random).values == pytest.approx(values, abs=1e-6)


def test_a_file_holds_every_number_as_it_is(network):
    moved = network.moved(np.random.default_rng(2).normal(size=len(network.values)))
    again = loads_network(moved.dumps(), network.architecture)
    assert np.array_equal(again.values, moved.values)
    assert again.dumps() == moved.dumps(), "equal networks have equal digests"


def test_files_of_other_networks_and_damaged_ones_are_refused(network):
    other = generic_network(2.0, Tier.MEDIUM)
    with pytest.raises(FormatError, match="plain-m5c32x2d2"):
        loads_network(other.dumps(), network.architecture)
    with pytest.raises(FormatError):
        loads_network(network.dumps()[:-5], network.architecture)
    weights = network.weights()
    weights.tensors["head.bias"] = np.full_like(weights.tensors["head.bias"], np.nan)
    with pytest.raises(FormatError, match="not finite"):
        loads_network(dumps_chunks(weights, storage="F32")[0], network.architecture)
    with pytest.raises(FormatError, match="has others"):
        network.moved(np.zeros(7))


@pytest.mark.parametrize("scale", catalog.SQUEEZES)
def test_every_scale_has_a_network_to_tune(scale: float):
    assert generic_network(scale, Tier.LOW).architecture == catalog.architecture(scale, Tier.LOW)


def test_a_version_is_taken_like_any_network_of_ones_own_and_exported(network, tmp_path: Path):
    file, onnx = tmp_path / "tuned.safetensors", tmp_path / "tuned.onnx"
    file.write_bytes(network.dumps())
    taken = read_own(file)
    assert taken.architecture == network.architecture
    assert len(taken.data) < len(network.dumps()) / 2, "viewers download it in eight bits"
    assert network.tensors["head.weight"] == pytest.approx(taken.weights.tensors["head.weight"], abs=0.02)
    result = CliRunner().invoke(export, [str(file), "--onnx", str(onnx)])
    assert result.exit_code == 0, result.output
    assert loads_onnx(onnx.read_bytes()).architecture.scale == 2
    file.write_bytes(network.dumps()[:-5])
    result = CliRunner().invoke(export, [str(file), "--onnx", str(onnx)])
    assert isinstance(result.exception, FormatError)
    assert "tuned.safetensors" in str(result.exception)

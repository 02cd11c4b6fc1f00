"""The `plain` family conditioned on a kernel's code: FiLM behind each convolution (Perez et al., AAAI 2018).

    x ← relu((1 + γ) · conv(x) + β)        γ, β of each layer: a small network of the code

The code only scales and shifts channels, so for one code all of it folds into the convolutions: weight · (1 + γ),
bias · (1 + γ) + β. What runs is a plain network, on every backend, at a plain network's cost. A code laid beside the
picture as more inputs was ignored in probes; one that multiplies was not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load, save

from enhancers.networks.checkpoint import Floats32, Weights
from enhancers.networks.plain import PlainArchitecture, parse

_KEY = "architecture"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConditionedWeights:
    """A conditioned network as it is kept: the architecture of its trunk, and what `ConditionedTrunk.tensors` gives."""

    architecture: PlainArchitecture
    tensors: Mapping[str, Floats32]


def fold(network: ConditionedWeights, code: Sequence[float]) -> Weights:
    """The plain network that a conditioned one is for one code."""
    tensors, architecture = network.tensors, network.architecture
    hidden = tensors["film.hidden.weight"] @ (4 * (np.asarray(code, np.float32) - np.float32(0.5)))
    hidden = np.maximum(hidden + tensors["film.hidden.bias"], 0)
    modulated = tensors["film.last.weight"] @ hidden + tensors["film.last.bias"]
    folded = {name: tensor for name, tensor in tensors.items() if not name.startswith("film.")}
    place = 0
    for layer in architecture.layers[:-1]:
        gain = 1 + modulated[place : place + layer.outputs]
        shift = modulated[place + layer.outputs : place + 2 * layer.outputs]
        place += 2 * layer.outputs
        folded[f"{layer.name}.weight"] = tensors[f"{layer.name}.weight"] * gain[:, None, None, None]
        folded[f"{layer.name}.bias"] = tensors[f"{layer.name}.bias"] * gain + shift
    return Weights(architecture=architecture, exits=(architecture.depth,), tensors=folded)


def dumps_network(network: ConditionedWeights) -> bytes:
    """As safetensors, float16."""
    stored = {name: tensor.astype(np.float16) for name, tensor in network.tensors.items()}
    return save(stored, {_KEY: str(network.architecture)})


def loads_network(data: bytes) -> ConditionedWeights:
    """The inverse of `dumps_network`, of a file that came with the program or from its own training."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors = {name: tensor.astype(np.float32) for name, tensor in load(data).items()}
    return ConditionedWeights(architecture=parse(header["__metadata__"][_KEY]), tensors=tensors)

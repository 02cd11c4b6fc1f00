"""The network that is tuned: one exit's luma, its numbers in a row, and the file that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from abr.core.enhancement import Tier
from abr.errors import FormatError
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, dumps_chunks, loads_chunks
from enhancers.networks.plain import PlainArchitecture

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedNetwork:
    """Collapsed weights of one exit. tensors: `<layer>.weight` and `<layer>.bias`, float32.

    ranges: as of Weights, so that it runs in eight bits too; empty where it was never calibrated.
    """

    architecture: PlainArchitecture
    tensors: Mapping[str, npt.NDArray[np.float32]]
    ranges: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> Floats:
        """All numbers in a row: layer by layer, weights before biases."""
        return np.concatenate([self.tensors[name].ravel() for name in tensor_names(self.architecture)]).astype(
            np.float64
        )

    def moved(self, by: Floats) -> TunedNetwork:
        """That whose numbers are so much larger, not calibrated. Raises FormatError for another number of them."""
        if by.shape != (count_values(self.architecture),):
            raise FormatError(f"The update has {len(by)} numbers; {self.architecture} has others.")
        tensors, start = {}, 0
        for name in tensor_names(self.architecture):
            tensor = self.tensors[name]
            step = by[start : start + tensor.size].reshape(tensor.shape)
            tensors[name] = (tensor + step).astype(np.float32)
            start += tensor.size
        return TunedNetwork(architecture=self.architecture, tensors=tensors)

    def weights(self, note: str = "") -> Weights:
        """As every backend runs them."""
        return Weights(
            architecture=self.architecture,
            exits=(self.architecture.depth,),
            tensors=dict(self.tensors),
            ranges=dict(self.ranges),
            note=note,
        )

    def dumps(self, note: str = "") -> bytes:
        """One safetensors file of 32-bit floats: who reads it has every number as it is."""
        return dumps_chunks(self.weights(note), storage="F32")[0]


def loads_network(data: bytes, architecture: PlainArchitecture, *, what: str = "the tuned network") -> TunedNetwork:
    """The inverse of `TunedNetwork.dumps`. Raises FormatError for anything else: the bytes may be a stranger's."""
    weights = loads_chunks([data], what=what)
    if weights.architecture != architecture or weights.chroma is not None:
        raise FormatError(f"{what} is of {weights.architecture}; expected luma of {architecture}.")
    return TunedNetwork(architecture=architecture, tensors=weights.tensors, ranges=weights.ranges)


def generic_network(scale: float, tier: Tier) -> TunedNetwork:
    """What the program ships, the exit of one tier: where tuning begins."""
    architecture = catalog.architecture(scale, tier)
    weights = loads_chunks(catalog.generic_chunks(architecture))
    names = tensor_names(architecture)
    return TunedNetwork(
        architecture=architecture,
        tensors={name: weights.tensors[name] for name in names},
        ranges={layer.name: weights.ranges[layer.name] for layer in architecture.layers[:-1]},
    )


def tensor_names(architecture: PlainArchitecture) -> tuple[str, ...]:
    """Of its layers, in the order in which they run."""
    return tuple(f"{layer.name}.{part}" for layer in architecture.layers for part in ("weight", "bias"))


def count_values(architecture: PlainArchitecture) -> int:
    """Numbers of a network: kernels and biases."""
    return sum(layer.macs + layer.outputs for layer in architecture.layers)

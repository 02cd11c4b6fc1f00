"""Networks of the plain family that come as a file of their own: one chunk, whole (`toprung derive`, `federate`)."""

from __future__ import annotations

from dataclasses import dataclass

from abr.errors import FormatError
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.networks.plain import PlainArchitecture

SUFFIX = ".safetensors"
_HEADER_BYTES = 4096
_MARK, _INT8 = b'"toprung"', b'"I8"'


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DerivedNetwork:
    """A checked network. data: the file. weights: what it holds."""

    data: bytes
    weights: Weights

    @property
    def architecture(self) -> PlainArchitecture:
        """Of its only exit."""
        return self.weights.architecture

    @property
    def macs_per_output_px(self) -> float:
        """Multiplications for each pixel shown."""
        return self.weights.macs_per_output_px


def is_derived(data: bytes) -> bool:
    """Whether a file looks like weights of ours, and not like other people's."""
    return _MARK in data[8:_HEADER_BYTES]


def is_int8(data: bytes) -> bool:
    """Whether such a file has its kernels in eight bits."""
    return _INT8 in data[8:_HEADER_BYTES]


def loads_derived(data: bytes) -> DerivedNetwork:
    """Raises FormatError for anything but one whole chunk that was calibrated."""
    weights = loads_chunks([data], what="this network")
    if not weights.ranges:
        raise FormatError(f"The weights of {weights.architecture} were never calibrated for int8.")
    return DerivedNetwork(data=data, weights=weights)

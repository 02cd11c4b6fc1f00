"""What is found out about models, as it is written to a report."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.device import Device, EnergySource, PowerModel
from abr.core.title import Count
from abr.records import Record

Text = Annotated[str, Meta(max_length=1024)]
Names = Annotated[tuple[Text, ...], Meta(max_length=256)]
NotNegative = Annotated[float, Meta(ge=0, le=1e18)]


class Format(StrEnum):
    """Kinds of model files."""

    ONNX = "onnx"
    TFLITE = "tflite"
    OPENVINO = "openvino"
    """OpenVINO IR: an .xml file, and its .bin beside it."""
    TORCHSCRIPT = "torchscript"
    SAFETENSORS = "safetensors"
    """Weights alone."""
    PICKLE = "pickle"
    """A PyTorch checkpoint: never opened, since opening one runs what its maker put into it."""


class FoundFile(Record, frozen=True):
    """A file that is a model by its first bytes or its name.

    places: all that have the same bytes, in and out of packages.
    path: where it lies on this machine while it is gauged. companion: of an IR, its weights.
    """

    sha256: str
    format: Format
    size_bytes: Count
    path: str
    places: Names
    companion: str = ""


class Port(Record, frozen=True):
    """An input or output of a model. shape: -1 for a size that the model leaves open."""

    name: Text
    dtype: Text
    shape: Annotated[tuple[int, ...], Meta(max_length=16)]


class Anatomy(Record, frozen=True):
    """What a model is made of. macs: multiply-accumulates of one run at `ran_shapes`; None where that is not known.

    ran_shapes, gave_shapes: of inputs and outputs, once sizes have been chosen for what the model leaves open.

    weights_bytes: of its parameters, by data type. operators: how many there are of each kind, the most frequent first.
    """

    inputs: Annotated[tuple[Port, ...], Meta(max_length=64)] = ()
    outputs: Annotated[tuple[Port, ...], Meta(max_length=64)] = ()
    ran_shapes: Annotated[tuple[tuple[int, ...], ...], Meta(max_length=64)] = ()
    gave_shapes: Annotated[tuple[tuple[int, ...], ...], Meta(max_length=64)] = ()
    layers: Count = 0
    """Operators that have parameters or multiply."""
    operators: Annotated[dict[str, int], Meta(max_length=64)] = msgspec.field(default_factory=dict)
    parameters: Count = 0
    macs: NotNegative | None = None
    weights_bytes: Annotated[dict[str, int], Meta(max_length=32)] = msgspec.field(default_factory=dict)

    @property
    def quantised_share(self) -> float:
        """Share of the weights' bytes that are integers of eight bits or fewer."""
        total = sum(self.weights_bytes.values())
        small = sum(size for name, size in self.weights_bytes.items() if name in ("i8", "u8", "i4", "u4", "u1"))
        return small / total if total else 0.0


class Run(Record, frozen=True, omit_defaults=True):
    """A model on this device, warm; energy as in profiles. failure: why it did not run, all else being 0 then."""

    backend: str
    threads: int
    p50_ms: NotNegative = 0.0
    p95_ms: NotNegative = 0.0
    runs: Count = 0
    memory_bytes: Count = 0
    energy_mj: NotNegative = 0.0
    energy_source: EnergySource | None = None
    failure: Text = ""


class Inspection(Record, frozen=True):
    """A file that was read. failure: why it is no sound model; empty when it is."""

    anatomy: Anatomy | None = None
    failure: Text = ""


class GaugedModel(Record, frozen=True):
    """All about one model. task: what it seems to be for, `why` by what."""

    file: FoundFile
    failure: Text = ""
    task: Text = "unknown"
    why: Text = ""
    anatomy: Anatomy | None = None
    runs: Annotated[tuple[Run, ...], Meta(max_length=16)] = ()
    flops_ms: NotNegative | None = None
    """What this device would take by FLOPs alone, predicted from the other models."""


class FlopsFit(Record, frozen=True):
    """How well FLOPs alone tell latency here: fixed_ms + ms_per_gmac × 10⁹ multiply-accumulates.

    Errors are relative, each model predicted from the others.
    """

    backend: str
    models: Count
    fixed_ms: NotNegative
    ms_per_gmac: NotNegative
    error_p50: NotNegative
    error_p95: NotNegative


class GaugeReport(Record, frozen=True):
    """One run of `toprung gauge`."""

    device: Device
    power: PowerModel
    files: Count
    """Looked at, those inside of packages among them."""
    models: tuple[GaugedModel, ...]
    skipped: Names = ()
    """What could not be looked into, and why."""
    flops: FlopsFit | None = None
    schema: int = 1

"""Weights on disk and on the wire: safetensors cut into chunks, each of which makes one more exit usable.

Chunk k holds the blocks between exits k − 1 and k, the tail of exit k, and (the first chunk) the head. Its metadata has
one key, `toprung` (safetensors keeps no order among several, and equal weights must have equal digests), with JSON:

    format         toprung-plain-1, or toprung-plain-2 for a first chunk with a chroma part
    architecture   the network that it completes, such as plain-m5c32x4
    from           depth of the exit before it, 0 for the first chunk
    ranges         by layer, the largest value of its ReLU's output that int8 inference keeps apart, in network units
    source         sha256 of the video it was trained on, empty for generic weights
    note           free text
    chroma         in the first chunk of format 2: the part that lifts chroma, such as m1c32 (enhancers.networks.chroma)

The chroma part lies in the first chunk whole, so that every exit has it. Weights without one lift luma alone.
Tensors are `<layer>.weight` as F16 or F32, or as I8 with `<layer>.scale` (F32, one an output channel), and
`<layer>.bias` (F32). Everything in a chunk is hostile until checked: nothing is unpickled, every name, shape and type
is expected before it is read, and every value is finite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import field as default
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct, field
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from abr.errors import FormatError
from abr.records import Record, dumps, loads
from enhancers.networks.chroma import ChromaArchitecture, parse_chroma
from enhancers.networks.plain import DEPTH_MAX, KERNEL_PX, Layer, PlainArchitecture, parse
from enhancers.networks.quantize import dequantize, quantize

FORMAT, CHROMA_FORMAT = "toprung-plain-1", "toprung-plain-2"
_KEY = "toprung"
CHUNK_BYTES_MAX = 16 << 20
_CHUNKS_MAX = 8
_TYPES: dict[str, str] = {"F32": "<f4", "F16": "<f2", "I8": "i1"}
_VALUE_MAX = 1e4

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Collapsed weights of one trunk with all its exits.

    architecture: the deepest exit. exits: depths, ascending. tensors: `<layer>.weight` (O, I, 3, 3) and `<layer>.bias`
    (O,), float32. ranges: by layer name, for every layer but tails; empty when never calibrated. chroma: the part that
    lifts chroma, whose layers are among the tensors and ranges too; None when chroma is scaled plainly.
    """

    architecture: PlainArchitecture
    exits: tuple[int, ...]
    tensors: dict[str, Floats32]
    ranges: dict[str, float] = default(default_factory=dict)
    source_sha256: str = ""
    note: str = ""
    chroma: ChromaArchitecture | None = None

    @property
    def macs_per_output_px(self) -> float:
        """Multiplications for each pixel shown, chroma and reuse counted in."""
        return self.architecture.macs_per_output_px + (self.chroma.macs_per_output_px if self.chroma else 0.0)


def weaken(weights: Weights, strength: float) -> Weights:
    """The network that adds `strength` times as much to the plain luma: its last convolution, multiplied."""
    last = weights.architecture.tail.name
    scaled = {name: weights.tensors[name] * np.float32(strength) for name in (f"{last}.weight", f"{last}.bias")}
    return replace(weights, tensors=weights.tensors | scaled)


class _Metadata(Record, frozen=True, rename={"after": "from"}):
    format: str
    architecture: Annotated[str, Meta(max_length=64)]
    after: Annotated[int, Meta(ge=0, le=DEPTH_MAX)]
    ranges: dict[str, float]
    source: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]
    note: Annotated[str, Meta(max_length=4096)] = ""
    chroma: Annotated[str, Meta(max_length=64)] | msgspec.UnsetType = msgspec.UNSET


class _Header(Struct, frozen=True):
    """The part of a safetensors header that is ours; tensors are read by safetensors itself."""

    metadata: dict[str, str] = field(name="__metadata__", default_factory=dict)


def digest(data: bytes) -> str:
    """The sha256 of a chunk, as the enhancement table names it."""
    return hashlib.sha256(data).hexdigest()


def weights_digest(chunks: Sequence[bytes]) -> str:
    """The sha256 of these chunks joined: how an offer names its weights."""
    return digest(b"".join(chunks))


def verify(data: bytes, sha256: str, what: str) -> bytes:
    """`data` itself when its sha256 is right; raises FormatError otherwise."""
    if (found := digest(data)) != sha256:
        raise FormatError(f"{what} has sha256 {found[:12]}…, expected {sha256[:12]}…: fetch it again.")
    return data


def chunk_layers(
    architecture: PlainArchitecture, after: int, chroma: ChromaArchitecture | None = None
) -> tuple[Layer, ...]:
    """The layers of the chunk that completes `architecture` when its first `after` blocks are there already."""
    first = (*(chroma.layers if chroma else ()), architecture.head) if after == 0 else ()
    return (*first, *architecture.blocks[after:], architecture.tail)


def dumps_chunks(weights: Weights, *, storage: str = "F16") -> list[bytes]:
    """One safetensors file an exit, cheapest first. `storage` of the kernels: I8, F16 or F32."""
    chunks = []
    for after, depth in zip((0, *weights.exits), weights.exits, strict=False):
        architecture = weights.architecture.at_exit(depth)
        chroma = weights.chroma if after == 0 else None
        layers = chunk_layers(architecture, after, chroma)
        ranges = {layer.name: weights.ranges[layer.name] for layer in layers if layer.name in weights.ranges}
        metadata = _Metadata(
            format=CHROMA_FORMAT if chroma else FORMAT,
            architecture=str(architecture),
            after=after,
            ranges=ranges,
            source=weights.source_sha256,
            note=weights.note,
            chroma=str(chroma) if chroma else msgspec.UNSET,
        )
        tensors: dict[str, npt.NDArray[Any]] = {}
        for layer in layers:
            tensors |= _encode_kernel(layer.name, weights.tensors[f"{layer.name}.weight"], storage)
            tensors[f"{layer.name}.bias"] = weights.tensors[f"{layer.name}.bias"].astype(np.float32)
        chunks.append(save(tensors, {_KEY: dumps(metadata).decode()}))
    return chunks


def _encode_kernel(name: str, weight: Floats32, storage: str) -> dict[str, npt.NDArray[Any]]:
    if storage != "I8":
        return {f"{name}.weight": weight.astype(_TYPES[storage])}
    kernel, scale = quantize(weight)
    return {f"{name}.weight": kernel, f"{name}.scale": scale}


def loads_chunks(chunks: Sequence[bytes], *, what: str = "these weights") -> Weights:
    """The weights of chunks 1…k, in order. Raises FormatError saying what is wrong with them."""
    if not 1 <= len(chunks) <= _CHUNKS_MAX:
        raise FormatError(f"{what} consist of {len(chunks)} chunks; expected 1 to {_CHUNKS_MAX}.")
    exits: list[int] = []
    before: PlainArchitecture | None = None
    tensors: dict[str, Floats32] = {}
    ranges: dict[str, float] = {}
    chroma: ChromaArchitecture | None = None
    for number, data in enumerate(chunks, start=1):
        name = f"chunk {number} of {what}"
        metadata, raw = _open_chunk(data, name)
        architecture = parse(metadata.architecture)
        if architecture.reuse > 1:
            raise FormatError(f"{name} names {architecture}: weights are of networks, not of how often they run.")
        after = exits[-1] if exits else 0
        if metadata.after != after or architecture.depth <= after:
            raise FormatError(
                f"{name} continues after block {metadata.after}, expected {after}: chunks are out of order."
            )
        if before is not None and architecture.at_exit(after) != before:
            raise FormatError(f"{name} belongs to {architecture}, the chunk before it to {before}.")
        part = _chroma_of(metadata, architecture, after, name)
        chroma = chroma or part
        layers = chunk_layers(architecture, after, part)
        tensors |= _check_tensors(raw, layers, name)
        ranges |= _check_ranges(metadata.ranges, [layer for layer in layers if not is_tail(layer)], name)
        before = architecture
        exits.append(architecture.depth)
    return Weights(
        architecture=architecture,
        exits=tuple(exits),
        tensors=tensors,
        ranges=ranges,
        source_sha256=metadata.source,
        note=metadata.note,
        chroma=chroma,
    )


def is_tail(layer: Layer) -> bool:
    """Whether a layer ends a network: nothing follows that its range would be calibrated for."""
    return layer.name.removeprefix("chroma.").startswith("tail")


def _chroma_of(
    metadata: _Metadata, architecture: PlainArchitecture, after: int, name: str
) -> ChromaArchitecture | None:
    """The chroma part that a chunk holds. Raises FormatError for one anywhere but in a first chunk of format 2."""
    if metadata.format == FORMAT and metadata.chroma is msgspec.UNSET:
        return None
    if metadata.format != CHROMA_FORMAT or metadata.chroma is msgspec.UNSET or after:
        raise FormatError(f"{name} may hold a chroma part only as a first chunk of format {CHROMA_FORMAT}.")
    return parse_chroma(metadata.chroma, architecture)


def _open_chunk(data: bytes, name: str) -> tuple[_Metadata, dict[str, dict[str, Any]]]:
    if len(data) > CHUNK_BYTES_MAX:
        raise FormatError(f"{name} is {len(data)} bytes; at most {CHUNK_BYTES_MAX} are taken.")
    try:
        raw: dict[str, dict[str, Any]] = dict(deserialize(data))  # type: ignore[no-untyped-call]
        header = msgspec.json.decode(data[8 : 8 + int.from_bytes(data[:8], "little")], type=_Header)
    except (SafetensorError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{name} is not a safetensors file: {error}.") from error
    if _KEY not in header.metadata:
        raise FormatError(f"{name} is a safetensors file but not weights for Toprung: its metadata lacks {_KEY!r}.")
    metadata = loads(header.metadata[_KEY], _Metadata, what=f"The metadata of {name}")
    if metadata.format not in (FORMAT, CHROMA_FORMAT):
        known = f"{FORMAT} and {CHROMA_FORMAT}"
        raise FormatError(f"{name} has format {metadata.format[:40]!r}; this program reads {known}.")
    return metadata, raw


def _check_tensors(raw: dict[str, dict[str, Any]], layers: Sequence[Layer], name: str) -> dict[str, Floats32]:
    tensors: dict[str, Floats32] = {}
    known: set[str] = set()
    for layer in layers:
        kernel, scale, bias = (f"{layer.name}.{part}" for part in ("weight", "scale", "bias"))
        shape = (layer.outputs, layer.inputs, KERNEL_PX, KERNEL_PX)
        weight = _read_tensor(raw, kernel, shape, ("F32", "F16", "I8"), name)
        known |= {kernel, bias}
        if weight.dtype == np.int8:
            known.add(scale)
            weight = dequantize(weight, _read_tensor(raw, scale, (layer.outputs,), ("F32",), name))
        tensors[kernel] = weight.astype(np.float32)
        tensors[bias] = _read_tensor(raw, bias, (layer.outputs,), ("F32",), name).astype(np.float32)
    if strange := sorted(set(raw) - known):
        raise FormatError(f"{name} holds {len(strange)} tensors that do not belong in it, such as {strange[0][:60]!r}.")
    return tensors


def _read_tensor(
    raw: dict[str, dict[str, Any]], key: str, shape: tuple[int, ...], types: Sequence[str], name: str
) -> npt.NDArray[Any]:
    entry = raw.get(key)
    if entry is None:
        raise FormatError(f"{name} lacks the tensor {key}.")
    if tuple(entry["shape"]) != shape or entry["dtype"] not in types:
        found = f"{entry['dtype']} {list(entry['shape'])[:8]}"
        raise FormatError(f"{key} in {name} is {found}; expected {' or '.join(types)} {list(shape)}.")
    values = np.frombuffer(entry["data"], _TYPES[entry["dtype"]]).reshape(shape)
    if not np.isfinite(values).all() or np.abs(values.astype(np.float32)).max() > _VALUE_MAX:
        raise FormatError(f"{key} in {name} holds values that are not finite or beyond ±{_VALUE_MAX:g}.")
    return values


def _check_ranges(ranges: dict[str, float], layers: Sequence[Layer], name: str) -> dict[str, float]:
    if ranges and set(ranges) != {layer.name for layer in layers}:
        raise FormatError(f"{name} has activation ranges for other layers than its own.")
    if not all(0 < value < _VALUE_MAX for value in ranges.values()):
        raise FormatError(f"{name} has activation ranges outside 0 to {_VALUE_MAX:g}.")
    return ranges

"""What a stream has learnt, read from the folder where it was kept (`abr.core.live.learning.StreamWeights`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from abr.core.enhancement import Chunk
from abr.core.live.learning import STREAM_WEIGHTS_FILE, StreamWeights
from abr.errors import StorageError
from abr.records import load
from enhancers.networks.checkpoint import loads_chunks, verify

CHUNK_BYTES_MAX = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptNetwork:
    """A network of one rendition, whose chunks are what they are said to be."""

    rendition: str
    architecture: str
    chunks: tuple[bytes, ...]


def read_stream_weights(folder: Path) -> tuple[KeptNetwork, ...]:
    """Raises FormatError for what is damaged or hostile, StorageError."""
    kept = load(folder / STREAM_WEIGHTS_FILE, StreamWeights)
    networks = []
    for offer in kept.offers:
        chunks = tuple(_read(folder, chunk) for chunk in offer.chunks)
        architecture = str(loads_chunks(chunks, what=f"what {kept.stream} learnt of {offer.rendition}").architecture)
        networks.append(KeptNetwork(rendition=offer.rendition, architecture=architecture, chunks=chunks))
    return tuple(networks)


def _read(folder: Path, chunk: Chunk) -> bytes:
    path = folder / Path(chunk.file).name
    try:
        with path.open("rb") as file:
            data = file.read(CHUNK_BYTES_MAX)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    return verify(data, chunk.sha256, str(path))

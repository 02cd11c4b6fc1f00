"""The enhancement table of a title, and its publication: chunks first, under names of their content, then the table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from abr.enhancement import (
    ENHANCEMENTS_FILE,
    Chunk,
    EnhancementTable,
    EnhancerEntry,
    Family,
    Offer,
    Tier,
)
from abr.errors import FormatError, StorageError
from abr.formats import dumps_pretty, load
from abr.media import Quality
from enhancers import catalog
from enhancers.architectures.plain import parse
from enhancers.checkpoint import digest, weights_digest

FOLDER = "enhancers"


def chunk_of(rendition: str, number: int, data: bytes) -> Chunk:
    """How the table names a chunk. The name carries its content's digest, so that a file is never changed in place."""
    sha256 = digest(data)
    return Chunk(
        file=f"{FOLDER}/content-{rendition}-{number}-{sha256[:12]}.safetensors", size_bytes=len(data), sha256=sha256
    )


def content_offer(rendition: str, architecture: str, chunks: Sequence[bytes], quality: Quality) -> Offer:
    """The offer of one exit of a title's own network, which needs all `chunks`."""
    return Offer(
        rendition=rendition,
        architecture=architecture,
        weights_sha256=weights_digest(chunks),
        chunks=tuple(chunk_of(rendition, number, data) for number, data in enumerate(chunks, start=1)),
        macs_per_output_px=round(parse(architecture).macs_per_output_px, 1),
        quality=quality,
    )


def generic_offer(rendition: str, architecture: str, quality: Quality) -> Offer:
    """The offer of one exit of the generic network, whose weights ship with the client."""
    known = parse(architecture)
    return Offer(
        rendition=rendition,
        architecture=architecture,
        weights_sha256=weights_digest(catalog.generic_chunks(known)),
        chunks=(),
        macs_per_output_px=round(known.macs_per_output_px, 1),
        quality=quality,
    )


def entries(offers: Mapping[tuple[Family, Tier], Sequence[Offer]]) -> tuple[EnhancerEntry, ...]:
    """Entries in the table's order: family by family, cheapest tier first; those without offers left out."""
    return tuple(
        EnhancerEntry(name=f"{family}-{tier}", family=family, tier=tier, offers=tuple(offers[family, tier]))
        for family in Family
        for tier in Tier
        if offers.get((family, tier))
    )


def publish(folder: Path, table: EnhancementTable, chunks: Mapping[str, bytes]) -> None:
    """Put a table and its chunks (file → bytes) in place. Raises StorageError, and leaves the old table then.

    The rename of the table is the moment of publication: everything it names is on the disk by then. Chunks of the
    table before stay for viewers who hold it; older ones are removed.
    """
    place = folder / FOLDER
    path = folder / ENHANCEMENTS_FILE
    try:
        before = _files_of(path)
        place.mkdir(exist_ok=True)
        for file, data in chunks.items():
            _write(folder / file, data)
        _sync(place)
        _write(path, dumps_pretty(table))
        _sync(folder)
        for stale in place.iterdir():
            if f"{FOLDER}/{stale.name}" not in before | chunks.keys():
                stale.unlink()
    except OSError as error:
        raise StorageError(f"Cannot publish the enhancers of {folder.name}: {error.strerror}.") from error


def _files_of(path: Path) -> set[str]:
    try:
        table = load(path, EnhancementTable)
    except (StorageError, FormatError):
        return set()
    return {chunk.file for entry in table.enhancers for offer in entry.offers for chunk in offer.chunks}


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A title's enhancement table, and its publication: first the chunks, named by their sha256, then the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from abr.controllers.toprung.title_plans import write_plans
from abr.core.enhancement import ENHANCEMENTS_FILE, Chunk, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.title import Quality, load_title
from abr.errors import FormatError, StorageError
from abr.files import fsync_path, write_atomically
from abr.records import dumps_pretty, load
from enhancers.networks import catalog
from enhancers.networks.checkpoint import digest, loads_chunks, weights_digest
from enhancers.networks.plain import parse

FOLDER = "enhancers"


def chunk_of(rendition: str, number: int, data: bytes) -> Chunk:
    """How the table names a chunk. The name carries its content's digest, so that a file is never changed in place."""
    sha256 = digest(data)
    return Chunk(
        file=f"{FOLDER}/content-{rendition}-{number}-{sha256[:12]}.safetensors", size_bytes=len(data), sha256=sha256
    )


def plan_chunk(rendition: str, name: str, data: bytes) -> Chunk:
    """How the table names the file of a frame plan."""
    sha256 = digest(data)
    return Chunk(file=f"{FOLDER}/{name}-{rendition}-{sha256[:12]}.plan", size_bytes=len(data), sha256=sha256)


def content_offer(
    rendition: str, architecture: str, chunks: Sequence[bytes], quality: Quality, strength: float = 1.0
) -> Offer:
    """The offer of one exit of a title's own network, which needs all `chunks`."""
    return Offer(
        rendition=rendition,
        architecture=architecture,
        weights_sha256=weights_digest(chunks),
        chunks=tuple(chunk_of(rendition, number, data) for number, data in enumerate(chunks, start=1)),
        macs_per_output_px=_macs(architecture, chunks),
        quality=quality,
        strength=strength,
    )


def generic_offer(rendition: str, architecture: str, quality: Quality, strength: float = 1.0) -> Offer:
    """The offer of one exit of the generic network, whose weights ship with the client."""
    chunks = catalog.generic_chunks(parse(architecture))
    return Offer(
        rendition=rendition,
        architecture=architecture,
        weights_sha256=weights_digest(chunks),
        chunks=(),
        macs_per_output_px=_macs(architecture, chunks),
        quality=quality,
        strength=strength,
    )


def _macs(architecture: str, chunks: Sequence[bytes]) -> float:
    """Multiplications for each pixel shown: those of a chroma part too, which runs on every frame."""
    return round(replace(loads_chunks(chunks), architecture=parse(architecture)).macs_per_output_px, 1)


def table_entries(offers: Mapping[tuple[Family, Tier], Sequence[Offer]]) -> tuple[EnhancerEntry, ...]:
    """Entries in the table's order: family by family, cheapest tier first; those without offers left out."""
    return tuple(
        EnhancerEntry(name=f"{family}-{tier}", family=family, tier=tier, offers=tuple(offers[family, tier]))
        for family in Family
        for tier in Tier
        if offers.get((family, tier))
    )


def publish(folder: Path, table: EnhancementTable, chunks: Mapping[str, bytes]) -> None:
    """Put a table and its chunks (file → bytes) in place. Raises StorageError, and leaves the old table then.

    Raises InputError for a title that may not be enhanced, also when that was said while it was trained.

    The rename of the table is the moment of publication: everything it names is on the disk by then. The plans made
    from it follow; until then servers pass the old ones over, and make their own. Chunks of the table before stay for
    viewers who hold it; older ones are removed.
    """
    place = folder / FOLDER
    path = folder / ENHANCEMENTS_FILE
    title = load_title(folder)
    title.check_enhancement()
    try:
        before = _files_of(path)
        place.mkdir(exist_ok=True)
        for file, data in chunks.items():
            write_atomically(folder / file, data)
        fsync_path(place)
        write_atomically(path, dumps_pretty(table))
        write_plans(folder, title, table)
        fsync_path(folder)
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
    return {chunk.file for _, offer in table.named_offers() for chunk in offer.chunks}

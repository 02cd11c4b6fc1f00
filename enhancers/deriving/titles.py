"""What a network is derived from, of a prepared title: one rung's frames against the source, and a teacher for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, Family
from abr.errors import InputError, StorageError, UnknownNameError
from abr.progress import ShareListener
from abr.records import load
from enhancers.measurement.ladder_planner import read_chunks
from enhancers.networks import catalog
from enhancers.networks.catalog import network_scales
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.prepared_title import PreparedTitle, open_title
from enhancers.training.patches import TrainingPairs
from enhancers.training.title_pairs import read_title_pairs

FRAMES_MAX = 160


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RungSubject:
    """One rung. size_px: of its frames."""

    rendition: str
    size_px: tuple[int, int]
    teacher: Weights
    pairs: TrainingPairs
    source_sha256: str


def open_rung(
    library: Path, title_id: str, source: Path | None, rung: str | None, progress: ShareListener
) -> RungSubject:
    """The rung, the lowest by default. Raises UnknownNameError for one that no network lifts."""
    prepared = open_title(library, title_id, source)
    scales = network_scales(prepared.title)
    if not scales:
        raise InputError(f"No rendition of {title_id} is small enough to be lifted.")
    id_ = rung or next(iter(scales))
    if id_ not in scales:
        raise UnknownNameError("rendition that networks lift", id_, scales)
    progress("Decoding the rung and the source", 0.0)
    rendition = prepared.title.rendition(id_)
    return RungSubject(
        rendition=id_,
        size_px=(rendition.width_px, rendition.height_px),
        teacher=teacher_of(prepared, id_, scales[id_]),
        pairs=read_title_pairs(prepared, {id_: scales[id_]}, frames_max=FRAMES_MAX)[id_],
        source_sha256=prepared.title.source.sha256,
    )


def teacher_of(prepared: PreparedTitle, rendition: str, scale: float) -> Weights:
    """The title's own network for this rung, at its deepest exit on offer; without one the generic network."""
    try:
        table = load(prepared.folder / ENHANCEMENTS_FILE, EnhancementTable)
    except StorageError:
        table = None
    own = [
        offer
        for entry in (table.enhancers if table else ())
        if entry.family is Family.CONTENT and (offer := entry.offer(rendition)) is not None
    ]
    if not own:
        return loads_chunks(catalog.generic_chunks(catalog.architecture(scale)))
    return loads_chunks(read_chunks(prepared, max(own, key=lambda offer: len(offer.chunks))))

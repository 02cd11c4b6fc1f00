"""The enhancement table of a title: every exit that might be offered, measured block by block, then published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abr.enhancement import EnhancementTable, Family, Offer, Tier
from abr.errors import FormatError, StorageError
from abr.formats import Record, dumps, load, save_whole
from abr.media import Quality, Rendition, Title
from abr.quality import Scores, meter_of
from enhancers import catalog
from enhancers.checkpoint import loads_chunks, weights_digest
from enhancers.content import liftable
from enhancers.job import Progress, key_of, title_key
from enhancers.pricing import (
    Block,
    References,
    Subject,
    blocks,
    check_source,
    joined,
    kept_frames,
    measure,
    quality,
    references,
)
from enhancers.publish import chunk_of, content_offer, entries, generic_offer, publish
from enhancers.runtime import open_weights, weights_as
from enhancers.titles import PreparedTitle

_WORTH_VMAF = 0.05
"""What is gained must be more than this: one frame in several is measured."""
_METRICS = ("vmaf", "vmaf_neg", "ssim", "psnr_y_db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An exit that might be offered: its chunks, and the place in the table that it would have."""

    family: Family
    tier: Tier
    rendition: Rendition
    architecture: str
    chunks: tuple[bytes, ...]

    @property
    def key(self) -> str:
        return f"{self.family}-{self.tier}@{self.rendition.id}"

    def opened(self, prepared: PreparedTitle) -> Subject:
        """Ready to be measured, with the int8 runtime that players use."""
        size_px = self.rendition.width_px, self.rendition.height_px
        weights = weights_as(self.architecture, self.chunks)
        enhancer = open_weights(weights, weights_digest(self.chunks), size_px=size_px, display_px=prepared.display_px)
        reuses = weights.architecture.reuse > 1
        return Subject(key=self.key, rendition=self.rendition, enhancer=enhancer, reuses=reuses)

    def offer(self, quality: Quality) -> Offer:
        if self.family is Family.GENERIC:
            return generic_offer(self.rendition.id, self.architecture, quality)
        return content_offer(self.rendition.id, self.architecture, self.chunks, quality)


class _BlockScores(Record, frozen=True):
    """The saved scores of one block: candidate → metric → a value for each frame in `frame`."""

    frame: tuple[int, ...]
    kept: tuple[bool, ...]
    scores: dict[str, dict[str, tuple[float, ...]]]


def candidates(
    prepared: PreparedTitle, networks: Mapping[str, Sequence[bytes]], tiers: Sequence[Tier]
) -> list[Candidate]:
    """Every exit of these tiers, generic and from `networks` (rendition id → chunks), for each liftable rendition."""
    found = []
    for id_, scale in liftable(prepared.title).items():
        own = tuple(networks.get(id_, ()))
        own_exits = {str(loads_chunks(own[:count]).architecture): own[:count] for count in range(1, len(own) + 1)}
        for tier in (*tiers, Tier.REUSE) if Tier.HIGH in tiers else tiers:
            architecture = catalog.architecture(scale, tier)
            held = {Family.GENERIC: catalog.generic_chunks(architecture)}
            if (network := str(architecture.on_every_frame)) in own_exits:
                held[Family.CONTENT] = own_exits[network]
            for family, chunks in held.items():
                found.append(
                    Candidate(
                        family=family,
                        tier=tier,
                        rendition=prepared.title.rendition(id_),
                        architecture=str(architecture),
                        chunks=chunks,
                    )
                )
    return found


def measured(
    prepared: PreparedTitle, found: Sequence[Candidate], every_frames: int, work: Path, progress: Progress
) -> dict[str, Quality]:
    """Quality of every candidate by key. Blocks measured by an earlier, interrupted run are not measured again."""
    key = key_of(title_key(prepared), every_frames, [(each.key, weights_digest(each.chunks)) for each in found])
    parts = blocks(prepared, every_frames)
    done = [_load(work / f"scores-{key}-{number}.json") for number in range(len(parts))]
    if not all(done):
        subjects = [candidate.opened(prepared) for candidate in found]
        for number, (block, truth) in enumerate(references(prepared, parts)):
            if done[number] is None:
                progress(f"Measuring {len(found)} enhancers", number / len(parts))
                scores = _measure_block(prepared, block, truth, subjects)
                save_whole(work / f"scores-{key}-{number}.json", dumps(scores))
                done[number] = scores
    return _qualities(prepared, [scores for scores in done if scores is not None])


def _measure_block(
    prepared: PreparedTitle, block: Block, truth: References, subjects: Sequence[Subject]
) -> _BlockScores:
    check_source(prepared, block, truth)
    scores = measure(prepared, block, truth, subjects)
    return _BlockScores(
        frame=block.scored,
        kept=tuple(kept_frames(truth, block)),
        scores={
            key: {name: tuple(getattr(values, name).tolist()) for name in _METRICS} for key, values in scores.items()
        },
    )


def _qualities(prepared: PreparedTitle, parts: Sequence[_BlockScores]) -> dict[str, Quality]:
    kept = [keep for part in parts for keep in part.kept]
    qualities = {}
    for key in parts[0].scores:
        scores = [
            Scores(
                frame=np.asarray(part.frame, dtype=np.int64),
                **{name: np.asarray(part.scores[key][name], dtype=np.float64) for name in _METRICS},
            )
            for part in parts
        ]
        qualities[key] = quality(prepared, joined(scores), kept)
    return qualities


def _load(path: Path) -> _BlockScores | None:
    try:
        return load(path, _BlockScores)
    except (StorageError, FormatError):  # not measured yet, or cut off in the middle
        return None


def worthwhile(found: Sequence[Candidate], qualities: Mapping[str, Quality], title: Title) -> list[Candidate]:
    """The candidates that beat plain playback and every cheaper tier of their family, on VMAF and on VMAF-NEG.

    Means over the title's frames count. VMAF alone can be inflated by sharpening; NEG can not.
    """

    def means(quality: Quality) -> tuple[float, float]:
        vmaf, vmaf_neg = np.average([quality.vmaf, quality.vmaf_neg], axis=1, weights=title.segment_frames)
        return float(vmaf), float(vmaf_neg)

    best: dict[tuple[Family, str], tuple[float, float]] = {}
    kept = []
    for candidate in sorted(found, key=lambda each: list(Tier).index(each.tier)):
        place = candidate.family, candidate.rendition.id
        floor = best.get(place) or means(title.plain_quality[candidate.rendition.id])
        reached = means(qualities[candidate.key])
        if all(have >= need + _WORTH_VMAF for have, need in zip(reached, floor, strict=True)):
            best[place] = reached
            kept.append(candidate)
    return kept


def publish_offers(
    prepared: PreparedTitle,
    found: Sequence[Candidate],
    qualities: Mapping[str, Quality],
    *,
    every_frames: int,
    trained_frames: int,
    note: str,
) -> EnhancementTable:
    """Publish the table of all worthwhile candidates, and the chunks that it names."""
    offers: dict[tuple[Family, Tier], list[Offer]] = {}
    kept = worthwhile(found, qualities, prepared.title)
    for candidate in kept:
        offers.setdefault((candidate.family, candidate.tier), []).append(candidate.offer(qualities[candidate.key]))
    table = EnhancementTable(
        title=prepared.title.id,
        meter=meter_of(every_frames=every_frames, crop=prepared.title.meter.crop),
        enhancers=entries(offers),
        trained_frames=trained_frames,
        note=note,
    )
    chunks = {
        chunk_of(candidate.rendition.id, number, data).file: data
        for candidate in kept
        if candidate.family is Family.CONTENT
        for number, data in enumerate(candidate.chunks, start=1)
    }
    publish(prepared.folder, table, chunks)
    return table

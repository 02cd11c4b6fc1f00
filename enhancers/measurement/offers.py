"""Candidates for a title's enhancement table: listed, measured block by block, selected and published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np

from abr.core.enhancement import Currency, EnhancementTable, Family, Offer, PlanOffer, Tier
from abr.core.options import counted_quality
from abr.core.title import PanelFigures, Quality, Rendition, Title
from abr.errors import FormatError, StorageError
from abr.files import write_atomically
from abr.media.video_codecs import codec_of
from abr.progress import ShareListener
from abr.quality.sampled_panel import join_panels
from abr.quality.segment_figures import lift_judge
from abr.quality.vmaf import Scores
from abr.records import Record, dumps, load
from enhancers.measurement.publish import chunk_of, content_offer, generic_offer, publish, table_entries
from enhancers.measurement.quality import (
    Measured,
    ReferenceFrames,
    SegmentBlock,
    Subject,
    check_source,
    cut_into_blocks,
    join_scores,
    kept_frames,
    mean_by_segment,
    measure_block,
    read_references,
)
from enhancers.networks import catalog
from enhancers.networks.catalog import network_scales
from enhancers.networks.checkpoint import loads_chunks, weights_digest
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.loader import load_weights, open_weights
from enhancers.work_folder import key_of, title_key

_WORTH_VMAF = 0.05
"""What is gained must be more than this: one frame in several is measured."""
_METRICS = ("vmaf", "vmaf_neg", "ssim", "psnr_y_db")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCandidate:
    """An exit that might be offered: its chunks and strength, and the place in the table that it would have."""

    family: Family
    tier: Tier
    rendition: Rendition
    architecture: str
    chunks: tuple[bytes, ...]
    strength: float = 1.0

    @property
    def key(self) -> str:
        """Its name in progress and work folders: family, tier and rendition, and its strength if that is not all."""
        weaker = "" if self.strength == 1.0 else f"*{self.strength:g}"
        return f"{self.family}-{self.tier}@{self.rendition.id}{weaker}"

    def open(self, prepared: PreparedTitle) -> Subject:
        """Open it for measuring, with the int8 runtime that players use. Raises FormatError."""
        size_px = self.rendition.width_px, self.rendition.height_px
        weights = load_weights(self.architecture, self.chunks, self.strength)
        enhancer = open_weights(weights, weights_digest(self.chunks), size_px=size_px, display_px=prepared.display_px)
        reuses = weights.architecture.reuse > 1
        return Subject(key=self.key, rendition=self.rendition, enhancer=enhancer, reuses=reuses)

    def offer(self, quality: Quality) -> Offer:
        """The offer to publish, with the quality that it reached."""
        if self.family is Family.GENERIC:
            return generic_offer(self.rendition.id, self.architecture, quality, self.strength)
        return content_offer(self.rendition.id, self.architecture, self.chunks, quality, self.strength)


class _BlockScores(Record, frozen=True):
    """The saved scores of one block: candidate → metric → a value for each of `frame`, and what the panel says."""

    frame: tuple[int, ...]
    kept: tuple[bool, ...]
    scores: dict[str, dict[str, tuple[float, ...]]]
    panel: dict[str, PanelFigures | None]


def list_candidates(
    prepared: PreparedTitle, networks: Mapping[str, Sequence[bytes]], tiers: Sequence[Tier]
) -> list[OfferCandidate]:
    """Every exit of these tiers, generic and from `networks` (rendition id → chunks), for each liftable rendition.

    Tier reuse goes with high, where the codec's decoder tells motion.
    """
    candidates = []
    for id_, scale in network_scales(prepared.title).items():
        own = tuple(networks.get(id_, ()))
        own_exits = {str(loads_chunks(own[:count]).architecture): own[:count] for count in range(1, len(own) + 1)}
        may_reuse = Tier.HIGH in tiers and codec_of(prepared.title.rendition(id_).codecs).exports_motion
        for tier in (*tiers, Tier.REUSE) if may_reuse else tiers:
            architecture = catalog.architecture(scale, tier)
            chunks_of = {Family.GENERIC: catalog.generic_chunks(architecture)}
            if (network := str(architecture.on_every_frame)) in own_exits:
                chunks_of[Family.CONTENT] = own_exits[network]
            for family, chunks in chunks_of.items():
                candidates.append(
                    OfferCandidate(
                        family=family,
                        tier=tier,
                        rendition=prepared.title.rendition(id_),
                        architecture=str(architecture),
                        chunks=chunks,
                    )
                )
    return candidates


def measure_candidates(
    prepared: PreparedTitle,
    candidates: Sequence[OfferCandidate],
    every_frames: int,
    work: Path,
    progress: ShareListener,
) -> dict[str, Quality]:
    """Quality of every candidate by key. Blocks measured by an earlier, interrupted run are not measured again."""
    subject_keys = [(each.key, weights_digest(each.chunks), each.strength) for each in candidates]
    key = key_of(title_key(prepared), every_frames, subject_keys)
    parts = cut_into_blocks(prepared, every_frames)
    done = [_load(work / f"scores-{key}-{number}.json") for number in range(len(parts))]
    if not all(done):
        for number, (block, truth) in enumerate(read_references(prepared, parts)):
            if done[number] is None:
                progress(f"Measuring {len(candidates)} enhancers", number / len(parts))
                scores = _measure_block(prepared, block, truth, candidates)
                write_atomically(work / f"scores-{key}-{number}.json", dumps(scores))
                done[number] = scores
    measured = _qualities(prepared, [scores for scores in done if scores is not None])
    against = {id_: lift_judge(prepared.title, id_) for id_ in {each.rendition.id for each in candidates}}
    return {each.key: against[each.rendition.id].with_trust(measured[each.key]) for each in candidates}


def _measure_block(
    prepared: PreparedTitle, block: SegmentBlock, truth: ReferenceFrames, candidates: Sequence[OfferCandidate]
) -> _BlockScores:
    """One rendition after the other: its frames and its networks take most of the memory."""
    check_source(prepared, block, truth)
    measured: dict[str, Measured] = {}
    for _, group in groupby(candidates, lambda candidate: candidate.rendition.id):
        subjects = [candidate.open(prepared) for candidate in group]
        measured |= measure_block(prepared, block, truth, subjects)
    return _BlockScores(
        frame=block.scored,
        kept=tuple(kept_frames(truth, block)),
        scores={
            key: {name: tuple(getattr(each.scores, name).tolist()) for name in _METRICS}
            for key, each in measured.items()
        },
        panel={key: each.panel for key, each in measured.items()},
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
        panel = join_panels([part.panel[key] for part in parts])
        qualities[key] = mean_by_segment(prepared, join_scores(scores), kept, panel)
    return qualities


def _load(path: Path) -> _BlockScores | None:
    try:
        return load(path, _BlockScores)
    except (StorageError, FormatError):  # not measured yet, or cut off in the middle
        return None


def select_worthwhile(
    candidates: Sequence[OfferCandidate], qualities: Mapping[str, Quality], title: Title
) -> list[OfferCandidate]:
    """The candidates that beat plain playback and every cheaper tier of their family, and that no judge refuses.

    They must win on trusted quality and on VMAF-NEG, means over the title's frames: where a title tells nothing of a
    panel trusted quality is VMAF, which sharpening inflates and NEG does not.
    """

    def means(quality: Quality) -> tuple[float, float]:
        counted = counted_quality(quality, Currency.TRUSTED)
        trusted, vmaf_neg = np.average([counted, quality.vmaf_neg], axis=1, weights=title.segment_frames)
        return float(trusted), float(vmaf_neg)

    refused = find_refusals(candidates, qualities, title)

    best: dict[tuple[Family, str], tuple[float, float]] = {}
    kept = []
    for candidate in sorted(candidates, key=lambda each: list(Tier).index(each.tier)):
        place = candidate.family, candidate.rendition.id
        floor = best.get(place) or means(title.plain_quality[candidate.rendition.id])
        reached = means(qualities[candidate.key])
        wins = all(have >= need + _WORTH_VMAF for have, need in zip(reached, floor, strict=True))
        if wins and candidate.key not in refused:
            best[place] = reached
            kept.append(candidate)
    return kept


def find_refusals(
    candidates: Sequence[OfferCandidate], qualities: Mapping[str, Quality], title: Title
) -> dict[str, tuple[str, ...]]:
    """By key of each candidate that may not be offered: the members and groups of the panel that say worse."""
    against = {id_: lift_judge(title, id_) for id_ in {each.rendition.id for each in candidates}}
    found = {each.key: against[each.rendition.id].refusals(qualities[each.key]) for each in candidates}
    return {key: names for key, names in found.items() if names}


def publish_offers(
    prepared: PreparedTitle,
    candidates: Sequence[OfferCandidate],
    qualities: Mapping[str, Quality],
    *,
    every_frames: int,
    trained_frames: int,
    note: str,
    plans: Sequence[tuple[PlanOffer, bytes]] = (),
) -> EnhancementTable:
    """Publish the table of all worthwhile candidates and of `plans`, and the chunks and files that it names."""
    offers: dict[tuple[Family, Tier], list[Offer]] = {}
    kept = select_worthwhile(candidates, qualities, prepared.title)
    for candidate in kept:
        offers.setdefault((candidate.family, candidate.tier), []).append(candidate.offer(qualities[candidate.key]))
    table = EnhancementTable(
        title=prepared.title.id,
        meter=msgspec.structs.replace(prepared.title.meter, every_frames=every_frames),
        enhancers=table_entries(offers),
        trained_frames=trained_frames,
        note=note,
        plans=tuple(plan for plan, _ in plans),
    )
    chunks = {
        chunk_of(candidate.rendition.id, number, data).file: data
        for candidate in kept
        if candidate.family is Family.CONTENT
        for number, data in enumerate(candidate.chunks, start=1)
    }
    publish(prepared.folder, table, chunks | {plan.file.file: data for plan, data in plans})
    return table

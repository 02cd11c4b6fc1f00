"""What `toprung train` does: train or take weights, measure all enhancers, publish; or only rehearse."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from abr.core.enhancement import Currency, EnhancementTable, Offer
from abr.core.options import counted_quality
from abr.errors import InputError, StorageError, UnknownNameError
from abr.progress import ShareListener
from enhancers.measurement.offers import (
    find_refusals,
    list_candidates,
    measure_candidates,
    publish_offers,
    select_worthwhile,
)
from enhancers.measurement.strengths import choose_strengths
from enhancers.networks import catalog
from enhancers.networks.catalog import exits_of, network_scales
from enhancers.networks.checkpoint import loads_chunks
from enhancers.planning.title_plans import make_plans
from enhancers.prepared_title import PreparedTitle
from enhancers.training.patches import TrainingPairs
from enhancers.training.title_pairs import read_title_pairs
from enhancers.training.title_training import TrainingPlan, train_title
from enhancers.training.title_weights import measure_vmaf, read_weights, train_rendition
from enhancers.work_folder import hold_work_folder

_HELD_OUT_EVERY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachResult:
    """The published table, plain VMAF by rendition id, and the seconds of each step.

    refused: by enhancer@rendition, who of the panel says that its picture is worse than plain.
    """

    table: EnhancementTable
    plain_vmaf: Mapping[str, float]
    seconds: Mapping[str, float]
    refused: Mapping[str, Sequence[str]]

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        enhancers = [
            {
                "enhancer": entry.name,
                "rendition": offer.rendition,
                "architecture": offer.architecture,
                "weights_bytes": sum(chunk.size_bytes for chunk in offer.chunks),
                "vmaf_plain": self.plain_vmaf[offer.rendition],
                "strength": offer.strength,
                "trusted": _counted(offer),
                "vmaf": round(float(np.mean(offer.quality.vmaf)), 3),
                "vmaf_neg": round(float(np.mean(offer.quality.vmaf_neg)), 3),
                "ssim": round(float(np.mean(offer.quality.ssim)), 5),
                "psnr_y_db": round(float(np.mean(offer.quality.psnr_y_db)), 3),
            }
            for entry in self.table.enhancers
            for offer in entry.offers
        ]
        plans = [
            {
                "plan": each.name,
                "rendition": each.offer.rendition,
                "plan_bytes": each.file.size_bytes,
                "macs_per_output_px": each.offer.macs_per_output_px,
                "trusted": _counted(each.offer),
                "vmaf_neg": round(float(np.mean(each.offer.quality.vmaf_neg)), 3),
            }
            for each in self.table.plans
        ]
        return {
            "title": self.table.title,
            "enhancers": enhancers,
            "plans": plans,
            "refused": dict(self.refused),
            "seconds": dict(self.seconds),
        }

    def as_text(self) -> str:
        """The same as lines for a terminal."""
        lines = [
            f"{'rendition':<10}{'enhancer':<16}{'architecture':<18}{'×':>5}{'kB':>6}{'quality':>9}{'gain':>7}{'VMAF':>8}{'gain':>7}{'NEG':>8}{'PSNR':>8}"
        ]
        rows = [(offer.rendition, entry.name, offer) for entry in self.table.enhancers for offer in entry.offers]
        rows += [(each.offer.rendition, each.name, each.offer) for each in self.table.plans]
        order = list(self.plain_vmaf)
        for rendition, name, offer in sorted(rows, key=lambda row: order.index(row[0])):
            vmaf = float(np.mean(offer.quality.vmaf))
            size = sum(chunk.size_bytes for chunk in offer.chunks) / 1000
            plain, counted = self.plain_vmaf[rendition], _counted(offer)
            figures = f"{counted:9.2f}{counted - plain:+7.2f}{vmaf:8.2f}{vmaf - plain:+7.2f}"
            figures += f"{np.mean(offer.quality.vmaf_neg):8.2f}"
            psnr = f"{np.mean(offer.quality.psnr_y_db):8.2f}"
            lines.append(
                f"{rendition:<10}{name:<16}{offer.architecture:<18}{offer.strength:5g}{size:6.0f}{figures}{psnr}"
            )
        lines += [f"not offered: {key}, worse by {', '.join(names)}" for key, names in self.refused.items()]
        if not any(offer.quality.trusted for _, _, offer in rows):
            lines.append("The title has no figures of the panel, so quality is VMAF alone; prepare it again for both.")
        spent = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in self.seconds.items())
        return "\n".join([*lines, f"({spent})"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalResult:
    """VMAF of one rung on frames kept out of training, inside the picture, each scored by itself."""

    rendition: str
    architecture: str
    steps: int
    seconds: float
    plain_vmaf: float
    before_vmaf: float
    after_vmaf: float

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_text(self) -> str:
        """The same as lines for a terminal."""
        return (
            f"{self.rendition} with {self.architecture}: VMAF {self.plain_vmaf:.2f} plain, "
            f"{self.before_vmaf:.2f} generic, {self.after_vmaf:.2f} after {self.seconds:.0f} s ({self.steps} steps) "
            "on this title. Nothing was changed."
        )


def select_renditions(prepared: PreparedTitle, rungs: str | None) -> tuple[str, ...]:
    """The renditions to train, lowest first. Raises InputError when no network fits any."""
    possible = tuple(network_scales(prepared.title))
    if not possible:
        raise InputError(f"No rendition of {prepared.title.id} is small enough against the display to be lifted.")
    if rungs is None:
        return possible
    names = [name.strip() for name in rungs.split(",")]
    for name in names:
        if name not in possible:
            raise UnknownNameError("rendition that can be lifted", name, possible)
    return tuple(name for name in possible if name in names)


def attach(
    prepared: PreparedTitle,
    plan: TrainingPlan,
    progress: ShareListener,
    *,
    given: Path | None,
    export: Path | None,
    generic_only: bool,
    every_frames: int,
    with_plans: bool,
) -> AttachResult:
    """Train (or take `given` weights, or none), measure every enhancer, plan frames, publish the table."""
    began = time.perf_counter()
    networks: dict[str, list[bytes]] = {}
    note = "generic only"
    with hold_work_folder(prepared) as work:
        if not generic_only:
            folder = given or train_title(prepared, plan, work, progress)
            card, networks = read_weights(folder, prepared.title)
            note = card.made_by
            if export is not None:
                _copy_weights(folder, export)
        trained_s = time.perf_counter() - began
        found = choose_strengths(prepared, list_candidates(prepared, networks, plan.tiers), work, progress)
        qualities = measure_candidates(prepared, found, every_frames, work, progress)
        measured_s = time.perf_counter() - began - trained_s
        offered = select_worthwhile(found, qualities, prepared.title)
        plans = make_plans(prepared, offered, qualities, every_frames, progress) if with_plans else []
        table = publish_offers(
            prepared,
            found,
            qualities,
            plans=plans,
            every_frames=every_frames,
            trained_frames=0 if generic_only else min(plan.frames_max, sum(prepared.title.segment_frames)),
            note=note,
        )
    plain = {id_: float(np.mean(values.vmaf)) for id_, values in prepared.title.plain_quality.items()}
    planned_s = time.perf_counter() - began - trained_s - measured_s
    spent = {"training": trained_s, "measuring": measured_s} | ({"planning": planned_s} if with_plans else {})
    return AttachResult(
        table=table,
        plain_vmaf=plain,
        seconds={what: round(value, 1) for what, value in spent.items()},
        refused=find_refusals(found, qualities, prepared.title),
    )


def _counted(offer: Offer) -> float:
    """Mean of what counts by default: trusted quality."""
    return round(float(np.mean(counted_quality(offer.quality, Currency.TRUSTED))), 3)


def _copy_weights(folder: Path, export: Path) -> None:
    try:
        shutil.copytree(folder, export, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"Cannot copy the weights to {export}: {error}.") from error


def rehearse(prepared: PreparedTitle, plan: TrainingPlan, progress: ShareListener) -> RehearsalResult:
    """Train the lowest rung of the plan and compare on frames that training did not see. Changes nothing."""
    id_ = plan.renditions[0]
    pairs = read_title_pairs(prepared, {id_: network_scales(prepared.title)[id_]}, frames_max=plan.frames_max)[id_]
    training, held_out = _split(pairs)
    depth = exits_of(plan.tiers)[-1]
    architecture = catalog.architecture(pairs.scale).at_exit(depth)
    generic_tensors = loads_chunks(catalog.generic_chunks(architecture)).tensors
    generic = {name: torch.from_numpy(tensor) for name, tensor in generic_tensors.items()}
    trained = train_rendition(
        training,
        plan.tiers,
        plan.recipe,
        seed=plan.seed,
        report=lambda done, loss: progress(f"Training {id_} (loss {loss:.5f})", done),
    )
    return RehearsalResult(
        rendition=id_,
        architecture=str(architecture),
        steps=trained.steps,
        seconds=round(trained.seconds, 1),
        plain_vmaf=round(measure_vmaf(held_out, None, depth), 3),
        before_vmaf=round(measure_vmaf(held_out, generic, depth), 3),
        after_vmaf=round(measure_vmaf(held_out, trained.tensors, depth), 3),
    )


def _split(pairs: TrainingPairs) -> tuple[TrainingPairs, TrainingPairs]:
    """Frames to train on, and every eighth to compare with."""
    held_out = np.arange(len(pairs.low)) % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2
    return tuple(  # type: ignore[return-value]
        replace(pairs, low=pairs.low[mask], plain=pairs.plain[mask], target=pairs.target[mask], chroma=None)
        for mask in (~held_out, held_out)
    )

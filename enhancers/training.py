"""What `toprung train` does: train or take weights, measure all enhancers, publish; or only rehearse."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from abr.enhancement import EnhancementTable
from abr.errors import InputError, StorageError, UnknownNameError
from enhancers import catalog
from enhancers.checkpoint import loads_chunks
from enhancers.content import exits_of, liftable, read_weights, train_rendition, vmaf
from enhancers.data import Pairs
from enhancers.job import Plan, Progress, train_title, working_on
from enhancers.offers import candidates, measured, publish_offers
from enhancers.titles import PreparedTitle, title_pairs

_HELD_OUT_EVERY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The published table, and how long what took."""

    table: EnhancementTable
    plain_vmaf: Mapping[str, float]
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        enhancers = [
            {
                "enhancer": entry.name,
                "rendition": offer.rendition,
                "architecture": offer.architecture,
                "weights_bytes": sum(chunk.size_bytes for chunk in offer.chunks),
                "vmaf_plain": self.plain_vmaf[offer.rendition],
                "vmaf": round(float(np.mean(offer.quality.vmaf)), 3),
                "vmaf_neg": round(float(np.mean(offer.quality.vmaf_neg)), 3),
                "ssim": round(float(np.mean(offer.quality.ssim)), 5),
                "psnr_y_db": round(float(np.mean(offer.quality.psnr_y_db)), 3),
            }
            for entry in self.table.enhancers
            for offer in entry.offers
        ]
        return {"title": self.table.title, "enhancers": enhancers, "seconds": dict(self.seconds)}

    def as_text(self) -> str:
        lines = [
            f"{'rendition':<10}{'enhancer':<16}{'architecture':<18}{'kB':>6}{'VMAF':>8}{'gain':>7}{'NEG':>8}{'PSNR':>8}"
        ]
        rows = [(offer.rendition, entry.name, offer) for entry in self.table.enhancers for offer in entry.offers]
        order = list(self.plain_vmaf)
        for rendition, name, offer in sorted(rows, key=lambda row: order.index(row[0])):
            vmaf = float(np.mean(offer.quality.vmaf))
            size = sum(chunk.size_bytes for chunk in offer.chunks) / 1000
            figures = f"{vmaf:8.2f}{vmaf - self.plain_vmaf[rendition]:+7.2f}{np.mean(offer.quality.vmaf_neg):8.2f}"
            psnr = f"{np.mean(offer.quality.psnr_y_db):8.2f}"
            lines.append(f"{rendition:<10}{name:<16}{offer.architecture:<18}{size:6.0f}{figures}{psnr}")
        spent = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in self.seconds.items())
        return "\n".join([*lines, f"({spent})"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """VMAF of one rung on frames kept out of training, inside the picture, each scored by itself."""

    rendition: str
    architecture: str
    steps: int
    seconds: float
    plain_vmaf: float
    before_vmaf: float
    after_vmaf: float

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}

    def as_text(self) -> str:
        return (
            f"{self.rendition} with {self.architecture}: VMAF {self.plain_vmaf:.2f} plain, "
            f"{self.before_vmaf:.2f} generic, {self.after_vmaf:.2f} after {self.seconds:.0f} s ({self.steps} steps) "
            "on this title. Nothing was changed."
        )


def selected(prepared: PreparedTitle, rungs: str | None) -> tuple[str, ...]:
    """The renditions to train, lowest first. Raises InputError when a network would pay for none."""
    possible = tuple(liftable(prepared.title))
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
    plan: Plan,
    progress: Progress,
    *,
    given: Path | None,
    export: Path | None,
    generic_only: bool,
    every_frames: int,
) -> Attached:
    """Train (or take `given` weights, or none), measure every enhancer, publish the table."""
    began = time.perf_counter()
    networks: dict[str, list[bytes]] = {}
    note = "generic only"
    with working_on(prepared) as work:
        if not generic_only:
            folder = given or train_title(prepared, plan, work, progress)
            card, networks = read_weights(folder, prepared.title)
            note = card.made_by
            if export is not None:
                _copy_weights(folder, export)
        trained_s = time.perf_counter() - began
        found = candidates(prepared, networks, plan.tiers)
        qualities = measured(prepared, found, every_frames, work, progress)
        table = publish_offers(
            prepared,
            found,
            qualities,
            every_frames=every_frames,
            trained_frames=0 if generic_only else min(plan.frames_max, sum(prepared.title.segment_frames)),
            note=note,
        )
    plain = {id_: float(np.mean(values.vmaf)) for id_, values in prepared.title.plain_quality.items()}
    spent = {"training": trained_s, "measuring": time.perf_counter() - began - trained_s}
    return Attached(table=table, plain_vmaf=plain, seconds={what: round(value, 1) for what, value in spent.items()})


def _copy_weights(folder: Path, export: Path) -> None:
    try:
        shutil.copytree(folder, export, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"Cannot copy the weights to {export}: {error}.") from error


def rehearse(prepared: PreparedTitle, plan: Plan, progress: Progress) -> Rehearsed:
    """Train the lowest rung of the plan and compare on frames that training did not see. Changes nothing."""
    id_ = plan.renditions[0]
    pairs = title_pairs(prepared, {id_: liftable(prepared.title)[id_]}, frames_max=plan.frames_max)[id_]
    seen, unseen = _split(pairs)
    depth = exits_of(plan.tiers)[-1]
    architecture = catalog.architecture(pairs.scale).at_exit(depth)
    held = loads_chunks(catalog.generic_chunks(architecture)).tensors
    generic = {name: torch.from_numpy(tensor) for name, tensor in held.items()}
    trained = train_rendition(
        seen,
        plan.tiers,
        plan.recipe,
        seed=plan.seed,
        report=lambda done, loss: progress(f"Training {id_} (loss {loss:.5f})", done),
    )
    return Rehearsed(
        rendition=id_,
        architecture=str(architecture),
        steps=trained.steps,
        seconds=round(trained.seconds, 1),
        plain_vmaf=round(vmaf(unseen, None, depth), 3),
        before_vmaf=round(vmaf(unseen, generic, depth), 3),
        after_vmaf=round(vmaf(unseen, trained.tensors, depth), 3),
    )


def _split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Frames to train on, and every eighth to compare with."""
    held_out = np.arange(len(pairs.low)) % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2
    return tuple(  # type: ignore[return-value]
        replace(pairs, low=pairs.low[mask], plain=pairs.plain[mask], target=pairs.target[mask])
        for mask in (~held_out, held_out)
    )

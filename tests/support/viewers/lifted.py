"""The test title with networks that a browser can run: small ones with random weights, published as a real title's."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from networks import random_weights
from titles import prepared_title

from abr.core.enhancement import (
    ENHANCEMENTS_FILE,
    ActionShare,
    Chunk,
    EnhancementTable,
    EnhancerEntry,
    Family,
    Offer,
    PlanOffer,
    Tier,
)
from abr.core.frame_plan import FramePlan, dumps_plan
from abr.core.title import Quality, Title
from abr.records import dumps
from enhancers.measurement.publish import content_offer, generic_offer, plan_chunk
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, dumps_chunks, weights_digest
from enhancers.networks.plain import parse

QUICK, SLOW = "plain-m1c4x1.5d2", "plain-m1c8x4"
"""What a processor that stands in for a GPU can do within a frame's time, and what it cannot."""
LIFT = {Tier.LOW: 6.0, Tier.HIGH: 12.0}


def lifted_library(folder: Path, *, slow: bool = True) -> Path:
    """A library whose title `bbb` offers content-low (quick) and, unless told otherwise, content-high for its 180p."""
    title, source = prepared_title()
    target = folder / "library" / title.id
    shutil.copytree(source, target)
    (target / "enhancers").mkdir()
    entries = []
    for tier, architecture in ((Tier.LOW, QUICK), (Tier.HIGH, SLOW))[: 1 + slow]:
        chunks = dumps_chunks(network(architecture))
        (target / "enhancers" / f"{tier}.safetensors").write_bytes(chunks[0])
        offer = _offer(title, tier, architecture, chunks)
        entries.append(
            EnhancerEntry(name=f"content-{tier}", family=Family.CONTENT, tier=tier, offers=(offer,)),
        )
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=tuple(entries))
    (target / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return folder / "library"


def generic_library(folder: Path) -> Path:
    """The same with generic-low alone, by the weights that ship with the program."""
    library = lifted_library(folder, slow=False)
    architecture = catalog.architecture(4.0, Tier.LOW)
    title, _ = prepared_title()
    quality = _offer(title, Tier.LOW, QUICK, dumps_chunks(network(QUICK))).quality
    offer = generic_offer("180p", str(architecture), quality)
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=(offer,))
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=(entry,))
    (library / title.id / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return library


def network(architecture: str, exits: tuple[int, ...] | None = None) -> Weights:
    """Random weights whose residuals can be seen in eight bits."""
    return random_weights(parse(architecture), exits, ready=False)


def _offer(title: Title, tier: Tier, architecture: str, chunks: list[bytes]) -> Offer:
    plain = title.plain_quality["180p"]
    file = f"enhancers/{tier}.safetensors"
    chunk = Chunk(file=file, size_bytes=len(chunks[0]), sha256=hashlib.sha256(chunks[0]).hexdigest())
    quality = Quality(
        vmaf=tuple(min(99.0, value + LIFT[tier]) for value in plain.vmaf),
        vmaf_neg=plain.vmaf_neg,
        ssim=plain.ssim,
        psnr_y_db=plain.psnr_y_db,
    )
    return Offer(
        rendition="180p",
        architecture=architecture,
        weights_sha256=weights_digest(chunks),
        chunks=(chunk,),
        macs_per_output_px=parse(architecture).macs_per_output_px,
        quality=quality,
    )


PLAN_EXITS = ("plain-m1c4x1.5d2", "plain-m2c4x1.5d2")
PLAN_NAME = "content-plan-1"
PLAN_PATTERN = (3, *[1] * 9, 0, 0, 2, *[1] * 7)
"""The deeper exit, carried nine times; two plain frames; the lighter exit, carried seven times."""


def planned_library(folder: Path) -> Path:
    """A library whose title `bbb` offers for its 180p a frame plan alone, for a network of two exits."""
    library = lifted_library(folder, slow=False)
    title, _ = prepared_title()
    chunks = dumps_chunks(network(PLAN_EXITS[-1], tuple(parse(name).depth for name in PLAN_EXITS)))
    lifted = _offer(title, Tier.HIGH, PLAN_EXITS[-1], chunks).quality
    offer = content_offer("180p", PLAN_EXITS[-1], chunks, lifted)
    plan = FramePlan(
        weights_sha256=offer.weights_sha256,
        exits=len(chunks),
        actions=tuple(np.resize(PLAN_PATTERN, frames).astype(np.uint8) for frames in title.segment_frames),
    )
    data, names = dumps_plan(plan), ("upscale-x1.5", "carry-x1.5", *PLAN_EXITS)
    offered = PlanOffer(
        name=PLAN_NAME,
        family=Family.CONTENT,
        offer=offer,
        file=plan_chunk("180p", PLAN_NAME, data),
        shares=tuple(ActionShare(architecture=n, share=s) for n, s in zip(names, plan.shares(), strict=True)),
    )
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=(), plans=(offered,))
    for part, body in zip(offered.download.chunks, (*chunks, data), strict=True):
        (library / title.id / part.file).write_bytes(body)
    (library / title.id / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return library

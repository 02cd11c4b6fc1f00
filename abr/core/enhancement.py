"""The enhancement table: what each enhancer does for each rendition of a title, measured per segment."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.title import Count, Identifier, Meter, Positive, Quality
from abr.records import Record

Strength = Annotated[float, Meta(gt=0, le=1)]

ENHANCEMENTS_FILE = "enhancements.json"
PLAIN = "none"
"""The name of the enhancer that plain playback is."""


class Tier(StrEnum):
    """How much an enhancer costs; the same architecture with more channels and depth."""

    LOW = "low"
    MEDIUM = "medium"
    REUSE = "reuse"
    """The network of `high` on some frames; the others carry its gain along the codec's motion."""
    HIGH = "high"
    ULTRA = "ultra"


class Family(StrEnum):
    """Where an enhancer's weights come from."""

    GENERIC = "generic"
    """Trained on other clips; ships with the client, nothing to download."""
    CONTENT = "content"
    """Trained on this title; its chunks are downloaded and priced like everything else."""
    OWN = "own"
    """Imported by whoever runs the library (`toprung import-model`); downloaded and priced too."""


class Chunk(Record, frozen=True):
    """A piece of an enhancer's weights. Chunks 1…k of a network make its first k exits usable (NAS, OSDI 2018)."""

    file: str
    """Path relative to the title folder, forward slashes, inside `enhancers/`."""
    size_bytes: Positive
    sha256: str


class Currency(StrEnum):
    """What counts as quality when a title is priced."""

    TRUSTED = "trusted"
    """The part of a lift that the panel attests; VMAF where a title tells nothing of a panel."""
    VMAF = "vmaf"


class Offer(Record, frozen=True, omit_defaults=True):
    """One enhancer applied to one rendition."""

    rendition: Identifier
    architecture: str
    """What decides its speed: family of networks, depth, width, scale, such as `plain-m4c16x4`."""
    weights_sha256: str
    chunks: tuple[Chunk, ...]
    """In order, all that this tier needs; empty when the weights ship with the client (generic)."""
    macs_per_output_px: float
    quality: Quality
    strength: Strength = 1.0
    """What the network adds to the plain picture is multiplied by this."""


class EnhancerEntry(Record, frozen=True):
    """One enhancer of a title: a family at a tier, over the renditions it can lift."""

    name: Identifier
    """`<family>-<tier>`, such as content-low."""
    family: Family
    tier: Tier
    offers: tuple[Offer, ...]

    def offer(self, rendition_id: str) -> Offer | None:
        """What it offers for a rendition, or None."""
        return next((offer for offer in self.offers if offer.rendition == rendition_id), None)


class ActionShare(Record, frozen=True):
    """Of all frames of a plan, the share for which this is done, and what it costs a device.

    architecture: as device profiles call it: that of an exit, `upscale-x4` for the plain picture, or `carry-x4` for
    carrying what a network of ×4 added.
    """

    architecture: str
    share: Annotated[float, Meta(ge=0, le=1)]


class PlanOffer(Record, frozen=True):
    """A rendition lifted by a frame plan (`abr.core.frame_plan`): for each frame what to compute, for one budget."""

    name: Identifier
    """`<family>-plan-<number>`, the cheapest first, such as content-plan-1."""
    family: Family
    offer: Offer
    """Of the deepest exit that the plan needs, with the quality of the plan and its mean multiplications."""
    file: Chunk
    """The plan itself. It holds for the weights that the offer names."""
    shares: Annotated[tuple[ActionShare, ...], Meta(max_length=16)]
    """In the order of actions: nothing, carry, exit 1 … n."""

    @property
    def download(self) -> Offer:
        """The offer with the plan behind the chunks of its weights: all that has to be downloaded."""
        return msgspec.structs.replace(self.offer, chunks=(*self.offer.chunks, self.file))


class EnhancementTable(Record, frozen=True):
    """Everything that can lift this title's renditions, cheapest tier first within a family."""

    title: Identifier
    meter: Meter
    enhancers: tuple[EnhancerEntry, ...]
    schema: int = 1
    trained_frames: Count = 0
    note: str = ""
    """How the content-aware weights were made: command, seed, device, seconds."""
    plans: tuple[PlanOffer, ...] = ()
    """What devices between two tiers, or below the first, can follow."""

    def named_offers(self) -> tuple[tuple[str, Offer], ...]:
        """Whatever can be decided, with its name: of plans the offer that has all to be downloaded."""
        tiers = ((entry.name, offer) for entry in self.enhancers for offer in entry.offers)
        return (*tiers, *((plan.name, plan.download) for plan in self.plans))

    def plan(self, name: str, rendition_id: str) -> PlanOffer | None:
        """The plan called `name` for a rendition, or None."""
        found = (each for each in self.plans if (each.name, each.offer.rendition) == (name, rendition_id))
        return next(found, None)

    def entry(self, name: str) -> EnhancerEntry:
        """The enhancer called `name`; raises KeyError."""
        for entry in self.enhancers:
            if entry.name == name:
                return entry
        raise KeyError(name)

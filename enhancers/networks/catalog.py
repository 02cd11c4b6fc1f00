"""The networks that there are: tiers, scales, and the generic weights that ship with the program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from abr.core.enhancement import Tier
from abr.core.title import Title
from abr.errors import FormatError
from enhancers.networks import catalog
from enhancers.networks.chroma import ChromaArchitecture
from enhancers.networks.plain import PlainArchitecture

WIDTH = 32
TIER_DEPTHS = {Tier.LOW: 2, Tier.MEDIUM: 5, Tier.HIGH: 10}
"""Blocks of each tier: the exits of one trunk."""
REUSED_FRAMES = 4
"""Frames that share one run of the network at tier reuse: what keeps nine tenths of the gain at twice the speed."""
EXITS = tuple(TIER_DEPTHS.values())
SQUEEZES = {1.5: 2, 2.0: 2, 3.0: 1, 4.0: 1}
"""Up to ×2 the network works at half resolution: as good for a quarter of the multiplications."""

CHROMA_DEPTH, CHROMA_WIDTH = 3, 24
"""Blocks and channels of chroma parts: at most three tenths of the lightest tier's multiplications at every scale."""


def chroma_architecture(scale: float) -> ChromaArchitecture:
    """The chroma part of all tiers at one scale."""
    return ChromaArchitecture(depth=CHROMA_DEPTH, width=CHROMA_WIDTH, scale=scale, squeeze=SQUEEZES[scale])


def architecture(scale: float, tier: Tier = Tier.HIGH) -> PlainArchitecture:
    """The network of one tier at one scale."""
    if tier is Tier.REUSE:
        return replace(architecture(scale), reuse=REUSED_FRAMES)
    return PlainArchitecture(depth=TIER_DEPTHS[tier], width=WIDTH, scale=scale, squeeze=SQUEEZES[scale])


def scale_for(height_px: int, display_height_px: int) -> float | None:
    """The network scale nearest to what the display asks for, or None when no network fits."""
    ratio = display_height_px / height_px
    return min(SQUEEZES, key=lambda scale: abs(math.log(scale / ratio))) if 1.4 <= ratio <= 5 else None


@cache
def generic_chunks(wanted: PlainArchitecture) -> tuple[bytes, ...]:
    """The chunks of the generic weights that `wanted` needs, in order. Raises FormatError when there are none."""
    wanted = wanted.on_every_frame
    tier = next((tier for tier in TIER_DEPTHS if architecture(wanted.scale, tier) == wanted), None)
    if tier is None:
        raise FormatError(f"There are no generic weights of {wanted}.")
    folder = files("enhancers") / "weights"
    names = [generic_file(wanted.scale, number + 1) for number in range(EXITS.index(wanted.depth) + 1)]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise FormatError(
            f"The generic weights {missing[0]} are not installed: run python -m enhancers.training.generic."
        )
    return tuple((folder / name).read_bytes() for name in names)


def generic_file(scale: float, chunk: int) -> str:
    """File name of a chunk, counted from 1, of the generic weights."""
    return f"generic-x{scale:g}-{chunk}.safetensors"


def network_scales(title: Title) -> dict[str, float]:
    """Rendition id → network scale, for every rendition that a network can enhance."""
    scales = {
        rendition.id: catalog.scale_for(rendition.height_px, title.display_height_px) for rendition in title.renditions
    }
    return {id_: scale for id_, scale in scales.items() if scale is not None}


def exits_of(tiers: Sequence[Tier]) -> tuple[int, ...]:
    """Depths of the tiers, ascending."""
    return tuple(sorted(catalog.TIER_DEPTHS[tier] for tier in set(tiers)))

"""What there is to run: tiers, scales, the generic weights that ship with the program, and how an offer is opened."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from importlib.resources import files

from abr.enhancement import Tier
from abr.errors import FormatError
from enhancers.architectures.plain import PlainArchitecture

WIDTH = 32
TIER_DEPTHS = {Tier.LOW: 2, Tier.MEDIUM: 5, Tier.HIGH: 10}
"""Blocks of each tier: the exits of one trunk."""
REUSED_FRAMES = 4
"""Frames that share one run of the network at tier reuse: what keeps nine tenths of the gain at twice the speed."""
EXITS = tuple(TIER_DEPTHS.values())
SQUEEZES = {1.5: 2, 2.0: 2, 3.0: 1, 4.0: 1}
"""Up to ×2 the network works at half resolution: as good for a quarter of the multiplications."""


def architecture(scale: float, tier: Tier = Tier.HIGH) -> PlainArchitecture:
    """The network of one tier at one scale."""
    if tier is Tier.REUSE:
        return replace(architecture(scale), reuse=REUSED_FRAMES)
    return PlainArchitecture(depth=TIER_DEPTHS[tier], width=WIDTH, scale=scale, squeeze=SQUEEZES[scale])


def scale_for(height_px: int, display_height_px: int) -> float | None:
    """The network scale nearest to what the display asks for, or None when a network would not pay."""
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
        raise FormatError(f"The generic weights {missing[0]} are not installed: run python -m enhancers.generic.")
    return tuple((folder / name).read_bytes() for name in names)


def generic_file(scale: float, chunk: int) -> str:
    """File name of a chunk, counted from 1, of the generic weights."""
    return f"generic-x{scale:g}-{chunk}.safetensors"

"""Where a viewer's pictures are enhanced: by the node for all, or by the viewer's own device. All pure.

A device that lifts as well as the node gets the low rung and the weights: its pictures are not encoded twice, and the
node has time for those who cannot lift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.core.device import Wish
from abr.core.enhancement import PLAIN
from abr.core.options import PriceList, plain_of
from abr.protocols.edge_api import EnhanceAt
from client_player.edge.choice import GAIN_MIN

MARGIN = 1.25
"""Times as much as a stream takes that a link has to carry, to play it without stalls."""
BACKLOG_MAX_S = 10.0
"""Work that waits at the node: with more, a viewer who can lift goes without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is known of one viewer and of the node. Gains: points over the rung that comes over the backhaul.

    last_hop_bps: what the viewer's link carries; 0: not known. lifted_bps: what lifted pictures and sound take of it.
    backlog_s: work that waits at the node.
    """

    device_gain: float
    edge_gain: float
    last_hop_bps: float
    lifted_bps: float
    backlog_s: float
    wish: Wish


def gain_of(prices: PriceList, rendition: int) -> float:
    """Points that the best enhancer of a rendition adds, in the mean over the title; 0 where nothing lifts it."""
    plain = prices.quality[:, plain_of(prices)[rendition]]
    lifts = [
        prices.quality[:, option]
        for option, choice in enumerate(prices.choices)
        if choice.rendition == rendition and choice.enhancer != PLAIN
    ]
    return max((float(np.nanmean(lift - plain)) for lift in lifts), default=0.0)


def choose_place(known: Place) -> tuple[EnhanceAt, str]:
    """Where to enhance, and why."""
    if known.device_gain < GAIN_MIN:
        return EnhanceAt.EDGE, "the device lifts by less than a point"
    if known.edge_gain < GAIN_MIN:
        return EnhanceAt.DEVICE, "the node lifts nothing of it at present"
    if 0 < known.last_hop_bps < MARGIN * known.lifted_bps:
        carried, needed = known.last_hop_bps / 1000, known.lifted_bps / 1000
        return EnhanceAt.DEVICE, f"its link carries {carried:.0f} kbit/s, and lifted pictures take {needed:.0f}"
    if known.wish is not Wish.QUALITY:
        return EnhanceAt.EDGE, "the device's energy is to be saved"
    if known.backlog_s > BACKLOG_MAX_S:
        return EnhanceAt.DEVICE, f"the node has {known.backlog_s:.0f} s of work waiting"
    if known.device_gain < known.edge_gain - GAIN_MIN:
        return EnhanceAt.EDGE, f"the node lifts by {known.edge_gain - known.device_gain:.1f} points more"
    return EnhanceAt.DEVICE, "the device lifts as well as the node, and gets pictures that are encoded once"

"""What edge nodes and players agree on: where a title's pictures are to be enhanced, and how a player asks."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.records import Record

ENHANCE_AT = "enhance-at"
"""Below a title of an edge node: a player posts an EnhanceAtRequest there."""
REL = "urn:toprung:enhance-at"
"""Relation type (RFC 8288, 2.1.2) of the link to it, which comes with the node's manifests."""
_LINK = re.compile(r'<([!-;=?-~]{1,1024})>\s*;\s*rel="' + re.escape(REL) + '"')


class EnhanceAt(StrEnum):
    """Where pictures are enhanced."""

    DEVICE = "device"
    EDGE = "edge"


class EnhanceAtRequest(Record, frozen=True):
    """What a device measured of itself. throughput_bps: of its link to the node, as far as it knows; 0: not known."""

    profile: DeviceProfile
    families: Annotated[tuple[Family, ...], Meta(max_length=8)] = tuple(Family)
    throughput_bps: Annotated[float, Meta(ge=0, le=1e12)] = 0.0


class EnhanceAtReply(Record, frozen=True):
    """Where, the manifest that it means (absolute path on the node), and why."""

    enhance_at: EnhanceAt
    manifest_url: Annotated[str, Meta(max_length=1024)]
    reason: Annotated[str, Meta(max_length=1024)]


def link_to(url: str) -> str:
    """The value of a Link header that leads to `url`."""
    return f'<{url}>; rel="{REL}"'


def find_link(header: str) -> str | None:
    """Where a Link header leads for this relation; None where it does not."""
    found = _LINK.search(header[:4096])
    return found[1] if found else None

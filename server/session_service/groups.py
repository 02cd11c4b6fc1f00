"""Viewers behind one link: which sessions are of one group, and what this worker has learned of each group's link."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv6Address, ip_address

from abr.controllers.toprung.bottleneck import Bottleneck, Turn
from abr.controllers.toprung.controller import Toprung
from abr.core.control import Observation
from server.lru_cache import LruCache
from server.sessions.session_ids import SessionIds
from server.sessions.state import SessionState

BYTES_MAX = 16 << 20
"""Of all links that a worker remembers; one that is forgotten is learned anew within a segment or two."""
LINK_BYTES = 800
MEMBER_BYTES = 1_000
POINT_BYTES = 120
"""About what a link takes, each viewer behind it, and each point of a viewer's curve of quality over rate: as
tracemalloc counts them, rounded up."""
_NAME_BYTES = 8
_PREFIX_BITS = {"address": {4: 32, 6: 64}, "block": {4: 24, 6: 48}}
"""Of the addresses that count as one network. Who has an IPv6 network has a /64 of it at least."""


class GroupNames:
    """Names groups so that nobody can tell from a name what it was made of: by keyed hashes."""

    def __init__(self, ids: SessionIds, group_by: str = "", trusted_peers: Collection[str] = ()) -> None:
        """group_by: as the setting. trusted_peers: proxies, whose addresses say nothing of the viewers behind them."""
        self._ids = ids
        self._group_by = group_by
        self._trusted = frozenset(trusted_peers)

    def name(self, told: str, address: str) -> bytes:
        """The group of a viewer at `address` who told a group, or none (empty); empty when it is in none."""
        if told:
            return self._digest("told", told)
        if not self._group_by or address in self._trusted:
            return b""
        network = network_of(address, self._group_by)
        return self._digest("network", network) if network else b""

    def _digest(self, *parts: str) -> bytes:
        return self._ids.digest(b"group", *(part.encode() for part in parts))[:_NAME_BYTES]


def network_of(address: str, group_by: str) -> str:
    """The network that an address is in: of the width that `group_by` says; empty for what is no IP address."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    bits = _PREFIX_BITS[group_by][found.version]
    return f"{int(found) >> (found.max_prefixlen - bits):x}/{bits} of IPv{found.version}"


class Links:
    """What this worker knows of the groups' links, the least recently used forgotten first.

    Those whom different controllers decide for stand apart, also in one group.
    """

    def __init__(self) -> None:
        self._links: LruCache[tuple[bytes, str], Bottleneck] = LruCache(BYTES_MAX)

    def take_turn(
        self, state: SessionState, viewer: str, controller: Toprung, observation: Observation, now_s: float
    ) -> Turn:
        """The turn of a session with a group (abr.controllers.toprung.bottleneck). now_s: on the server's clock."""
        key = state.group, state.controller
        link = self._links.get(key) or Bottleneck(controller)
        turn = link.take_turn(viewer, observation, now_s)
        self._links.put(key, link, size_bytes(link))
        return turn

    def leave(self, state: SessionState, viewer: str) -> None:
        """The session has ended."""
        link = self._links.get((state.group, state.controller))
        if link is not None:
            link.leave(viewer)


def size_bytes(link: Bottleneck) -> int:
    """About how much memory it takes."""
    return LINK_BYTES + MEMBER_BYTES * len(link) + POINT_BYTES * link.points

"""How much one peer may ask of the server: connections at once, requests and new sessions a second."""

from __future__ import annotations

import time
from collections import Counter

from server.cache import Cache
from server.settings import Settings

BURST_S = 5.0
"""A peer that was quiet may ask for this many seconds' worth at once."""
PEERS_MAX = 65_536


class Rate:
    """A token bucket for each peer. per_s: 0 means no limit."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s * BURST_S)
        self._left: Cache[str, tuple[float, float]] = Cache(PEERS_MAX)

    def take(self, peer: str, now_s: float) -> bool:
        """Whether the peer may, now; if so it has."""
        if not self._per_s:
            return True
        left, at_s = self._left.get(peer) or (self._most, now_s)
        left = min(self._most, left + (now_s - at_s) * self._per_s)
        self._left.put(peer, (left - 1 if left >= 1 else left, now_s))
        return left >= 1


class Limits:
    """Of one server. Trusted peers have none: they are reverse proxies, which limit for themselves."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = frozenset(settings.trusted_peers)
        self._connections_max = settings.connections_max
        self._per_peer_max = settings.peer_connections_max
        self._connections: Counter[str] = Counter()
        self._all = 0
        self._requests = Rate(settings.peer_requests_per_s)
        self._sessions = Rate(settings.peer_sessions_per_s)

    def trusts(self, peer: str) -> bool:
        return peer in self._trusted

    def connect(self, peer: str) -> bool:
        """Whether one more connection is taken in; if so, `disconnect` gives it back."""
        if self._all >= self._connections_max:
            return False
        if peer not in self._trusted and self._connections[peer] >= self._per_peer_max:
            return False
        self._all += 1
        self._connections[peer] += 1
        return True

    def disconnect(self, peer: str) -> None:
        self._all -= 1
        self._connections[peer] -= 1
        if not self._connections[peer]:
            del self._connections[peer]

    def request(self, peer: str) -> bool:
        return peer in self._trusted or self._requests.take(peer, time.monotonic())

    def session(self, peer: str) -> bool:
        return peer in self._trusted or self._sessions.take(peer, time.monotonic())

"""How much one peer may ask of the server: connections at once, requests and new sessions a second."""

from __future__ import annotations

import time
from collections import Counter

from server.lru_cache import LruCache
from server.settings import Settings

BURST_S = 5.0
"""A peer that was quiet may ask for this many seconds' worth at once."""
PEERS_MAX = 65_536


class TokenBucket:
    """A token bucket for each peer. per_s: 0 means no limit."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s * BURST_S)
        self._left: LruCache[str, tuple[float, float]] = LruCache(PEERS_MAX)

    def take(self, peer: str, now_s: float, count: int = 1) -> bool:
        """Whether the peer may, now; if so, `count` tokens are taken. More than a burst count as one."""
        if not self._per_s:
            return True
        left, at_s = self._left.get(peer) or (self._most, now_s)
        left = min(self._most, left + (now_s - at_s) * self._per_s)
        taken = min(count, self._most)
        self._left.put(peer, (left - taken if left >= taken else left, now_s))
        return left >= taken


class RateLimits:
    """Of one server. Trusted peers have none: they are reverse proxies, which limit for themselves."""

    def __init__(self, settings: Settings, *, connections_max: int | None = None) -> None:
        """connections_max: what the machine allows, where that is less than what is set."""
        self._trusted = frozenset(settings.trusted_peers)
        self._connections_max = min(settings.connections_max, connections_max or settings.connections_max)
        self._per_peer_max = settings.peer_connections_max
        self._connections: Counter[str] = Counter()
        self._all = 0
        self._requests = TokenBucket(settings.peer_requests_per_s)
        self._sessions = TokenBucket(settings.peer_sessions_per_s)
        self._opinions = TokenBucket(settings.peer_opinions_per_s)
        self._posted_bytes = TokenBucket(settings.peer_posted_bytes_per_s)

    def is_trusted(self, peer: str) -> bool:
        """Whether `peer` is a trusted one, which no limit holds back."""
        return peer in self._trusted

    def admit_connection(self, peer: str) -> bool:
        """Whether one more connection is taken in; if so, `release_connection` gives it back."""
        if self._all >= self._connections_max:
            return False
        if peer not in self._trusted and self._connections[peer] >= self._per_peer_max:
            return False
        self._all += 1
        self._connections[peer] += 1
        return True

    def release_connection(self, peer: str) -> None:
        """A connection of `peer` is gone."""
        self._all -= 1
        self._connections[peer] -= 1
        if not self._connections[peer]:
            del self._connections[peer]

    def admit_request(self, peer: str) -> bool:
        """Whether `peer` may ask once more."""
        return peer in self._trusted or self._requests.take(peer, time.monotonic())

    def admit_session(self, peer: str) -> bool:
        """Whether `peer` may open one more session."""
        return peer in self._trusted or self._sessions.take(peer, time.monotonic())

    def admit_opinion(self, peer: str) -> bool:
        """Whether `peer` may hand in one more opinion."""
        return peer in self._trusted or self._opinions.take(peer, time.monotonic())

    def admit_body(self, peer: str, size_bytes: int) -> bool:
        """Whether a request body of `peer` is taken in: what it says may be kept for an hour."""
        return peer in self._trusted or self._posted_bytes.take(peer, time.monotonic(), size_bytes)

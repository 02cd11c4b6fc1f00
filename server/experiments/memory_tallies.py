"""Tallies in the memory of one process."""

from __future__ import annotations

from collections import OrderedDict
from operator import add

from server.clock import Clock
from server.experiments.tally import WIDTH, Change, Tally


class MemoryTallies:
    """See TallyStore. Visits are bounded in number; those unheard of for longest go first."""

    def __init__(self, arms: int, clock: Clock, *, ttl_s: float, visits_max: int) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._visits_max = visits_max
        self._visits: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        """With the instant until which each is kept, in that order."""
        self._sessions = [0] * arms
        self._numbers: list[Change] = [(0,) * WIDTH] * arms

    async def count_session(self, arm: int) -> None:
        """See TallyStore."""
        self._sessions[arm] += 1

    async def visit(self, key: bytes) -> bytes:
        """See TallyStore."""
        return self._kept(key)

    async def swap(self, key: bytes, before: bytes, after: bytes, *, arm: int, change: Change) -> bool:
        """See TallyStore."""
        if self._kept(key) != before:
            return False
        self._visits[key] = after, self._clock() + self._ttl_s
        self._visits.move_to_end(key)
        if len(self._visits) > self._visits_max:
            self._visits.popitem(last=False)
        self._numbers[arm] = tuple(map(add, self._numbers[arm], change))
        return True

    async def tallies(self) -> list[Tally]:
        """See TallyStore."""
        pairs = zip(self._sessions, self._numbers, strict=True)
        return [Tally(sessions=sessions, numbers=numbers) for sessions, numbers in pairs]

    async def close(self) -> None:
        """See TallyStore."""
        self._visits.clear()

    def _kept(self, key: bytes) -> bytes:
        kept = self._visits.get(key)
        return kept[0] if kept is not None and kept[1] > self._clock() else b""

"""Days of the fleet in the memory of one process."""

from __future__ import annotations

from collections import Counter

from server.fleet.tally import DAYS, Cells


class MemoryDays:
    """See DayStore."""

    def __init__(self) -> None:
        self._days: dict[int, Counter[str]] = {}

    async def add(self, day: int, cells: Cells) -> None:
        """See DayStore."""
        self._days.setdefault(day, Counter()).update(cells)
        for old in [each for each in self._days if each <= day - DAYS]:
            del self._days[old]

    async def since(self, day: int, days: int) -> Cells:
        """See DayStore."""
        total: Counter[str] = Counter()
        for each in range(day - days + 1, day + 1):
            total.update(self._days.get(each, {}))
        return total

    async def close(self) -> None:
        """See DayStore."""

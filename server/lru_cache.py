"""A bounded memory of things that are dear to make."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Keeps values up to a total cost; the longest unused go first."""

    def __init__(self, cost_max: int) -> None:
        self._cost_max = cost_max
        self._cost = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """What is kept under `key`, which now counts as just used; or None."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: K, value: V, cost: int = 1) -> None:
        """A value that costs more than the whole cache is not kept."""
        self.drop(key)
        if cost > self._cost_max:
            return
        self._kept[key] = (value, cost)
        self._cost += cost
        while self._cost > self._cost_max:
            self._cost -= self._kept.popitem(last=False)[1][1]

    def drop(self, key: K) -> None:
        """Forget `key`, if it is there."""
        _, cost = self._kept.pop(key, (None, 0))
        self._cost -= cost

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._cost = 0

    @property
    def cost(self) -> int:
        """Of all that is kept."""
        return self._cost

"""Visits added up, arm by arm: counts, sums and sums of squares, in whole numbers, so that order does not matter.

A visit counts as soon as a segment was shown, with what is known of it then. As more becomes known, the difference is
added: nobody needs to say that a visit is over, and visits that break off count as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from server.experiments.visit import FIGURES

SCALES = (10_000, 10_000, 1_000_000, 10_000)
"""Steps to which a figure is rounded, of each of FIGURES. Squares are at most 10^12, so that 64 bits hold the sums of
some million visits."""
WIDTH = 1 + 2 * len(FIGURES)
"""Numbers of a tally: visits, then the sum and the sum of squares of each figure."""

Change = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Moments:
    """Of one figure over visits. variance: unbiased; 0 of fewer than two."""

    count: int
    mean: float
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One arm. sessions: opened in it. numbers: (WIDTH,) see above."""

    sessions: int
    numbers: Change

    @property
    def visits(self) -> int:
        """Visits of which something is known."""
        return self.numbers[0]

    def moments(self, figure: int) -> Moments:
        """Of one of FIGURES."""
        count, total, squares = self.numbers[0], *self.numbers[1 + 2 * figure : 3 + 2 * figure]
        if not count:
            return Moments(0, 0.0, 0.0)
        scale = SCALES[figure]
        spread = squares * count - total * total  # exact: these are whole numbers
        variance = spread / (count * (count - 1)) / scale**2 if count > 1 else 0.0
        return Moments(count, total / count / scale, max(0.0, variance))


def change_of(before: Sequence[float] | None, after: Sequence[float] | None) -> Change:
    """What a tally grows by when the figures of a visit were `before` and are `after`; None while there are none."""
    old, new = _numbers(before), _numbers(after)
    return tuple(b - a for a, b in zip(old, new, strict=True))


def _numbers(figures: Sequence[float] | None) -> Change:
    if figures is None:
        return (0,) * WIDTH
    scaled = [round(value * scale) for value, scale in zip(figures, SCALES, strict=True)]
    return 1, *(number for value in scaled for number in (value, value * value))


class TallyStore(Protocol):
    """Keeps the tallies of one experiment, and visits for as long as they go on. Arms go by their number.

    All coroutines raise StoreError when the store cannot be reached.
    """

    async def count_session(self, arm: int) -> None:
        """One more session was opened."""
        ...

    async def visit(self, key: bytes) -> bytes:
        """What is kept of a visit; empty when nothing is."""
        ...

    async def swap(self, key: bytes, before: bytes, after: bytes, *, arm: int, change: Change) -> bool:
        """Keep `after` of a visit and add `change` to its arm, both or neither.

        False when something other than `before` was kept: somebody else came between.
        """
        ...

    async def tallies(self) -> list[Tally]:
        """Of all arms."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

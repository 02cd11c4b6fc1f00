"""Who knows whom in a round: a ring in random order, in which each knows the members next to it on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random, SystemRandom

Neighbours = Sequence[tuple[int, ...]]
"""Of each member, by number, its neighbours in rising order."""


def draw_graph(members: int, neighbours: int, random: Random | None = None) -> Neighbours:
    """A k-regular ring over the members 0 … n - 1 in random order (Bell et al., section 3.3: a Harary graph).

    An odd number of neighbours has to be n - 1: all know all.
    """
    if neighbours >= members - 1:
        return [tuple(other for other in range(members) if other != member) for member in range(members)]
    order = list(range(members))
    (random or SystemRandom()).shuffle(order)
    half = neighbours // 2
    offsets = [offset for offset in range(-half, half + 1) if offset]
    known: list[tuple[int, ...]] = [()] * members
    for place, member in enumerate(order):
        known[member] = tuple(sorted(order[(place + offset) % members] for offset in offsets))
    return known

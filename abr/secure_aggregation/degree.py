"""How many neighbours a member has, and how many of them must help to open what it left behind."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, comb, floor
from typing import NamedTuple

MEMBERS_MIN = 5
"""Nothing is summed over fewer members than this, neither at the start of a round nor at its end."""
MEMBERS_MAX = 1000
"""Of one round; larger cohorts are several rounds."""

CORRUPT_SHARE = 0.1
"""Of the members of a round, those who may tell the server all that they know."""
GONE_SHARE = 0.3
"""Of the members of a round, those who may vanish during it."""
SECRECY_BITS = 40
"""A round betrays somebody with a probability below 2^-40, as in section 3.5 of the paper."""
SUCCESS_BITS = 10
"""A round comes to nothing with a probability below 2^-10; the next one then counts instead."""


class Degree(NamedTuple):
    """neighbours: of each member. threshold: so many shares open a secret of it."""

    neighbours: int
    threshold: int


ChooseDegree = Callable[[int], Degree]
"""The degree of a round of so many members. Members check what the server tells them by the same rule."""


@lru_cache(maxsize=MEMBERS_MAX)
def choose_degree(members: int) -> Degree:
    """The least even number of neighbours that keeps and finishes rounds with the probabilities above.

    Three things may go wrong; each is bounded over all members. A member's corrupt neighbours can open both of its
    secrets; too few of its neighbours stay; or who is gone or corrupt cuts the ring in two, so that the server learns
    two sums instead of one. The first two are hypergeometric tails (Bell et al., section 3.5). For the third: a ring
    in which all know k/2 members to each side falls apart only where two runs of k/2 neighbours are all gone or
    corrupt, so its probability is at most C(n, 2) (γ + δ)^k. Where no such number is below n - 1, all know all.
    """
    corrupt, gone = floor(CORRUPT_SHARE * members), ceil(GONE_SHARE * members)
    for neighbours in range(MEMBERS_MIN - 1, members - 1, 2):
        if comb(members, 2) * (CORRUPT_SHARE + GONE_SHARE) ** neighbours > 2.0**-SECRECY_BITS:
            continue
        threshold = _least_threshold(members, corrupt, neighbours)
        too_few_stay = members * _tail(members - 1, gone, neighbours, neighbours - threshold + 1)
        if too_few_stay < 2.0**-SUCCESS_BITS:
            return Degree(neighbours, threshold)
    return complete_degree(members)


def complete_degree(members: int) -> Degree:
    """All know all, and most of them open a secret: the first SecAgg, whose cost grows with n."""
    return Degree(members - 1, (members - 1) // 2 + 1)


def _least_threshold(members: int, corrupt: int, neighbours: int) -> int:
    """At least two, and more than the corrupt neighbours that a member may have."""
    for threshold in range(2, neighbours + 1):
        if members * _tail(members - 1, corrupt, neighbours, threshold) < 2.0**-SECRECY_BITS:
            return threshold
    return neighbours + 1


def _tail(population: int, marked: int, drawn: int, least: int) -> float:
    """Probability that of `drawn` out of `population`, of which some are marked, at least `least` are marked."""
    most = min(marked, drawn)
    ways = sum(comb(marked, n) * comb(population - marked, drawn - n) for n in range(max(0, least), most + 1))
    return ways / comb(population, drawn)

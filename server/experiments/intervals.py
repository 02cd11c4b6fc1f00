"""Intervals that hold however often they are looked at.

A usual 95 % interval holds for one look at a number of visits fixed beforehand. Who looks all the time, and stops when
it leaves 0 out, finds a difference between equal arms far more often than 1 time in 20. A confidence sequence is a row
of intervals all of which hold together, at every number of visits, with the stated probability; so it may be watched.

This is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences" (Annals of Statistics 52(6), 2024), theorem 2.2, and for differences
section 3. It is Robbins' mixture of normal distributions (1970), for means whose variance is estimated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from server.experiments.tally import Moments

ALPHA = 0.05
"""Chance that any of the intervals, ever, leaves the truth out."""
PLANNED = 400
"""Visits, of all arms together, for which the intervals are made narrowest."""
LEAST = 50
"""Visits that an arm needs: with fewer the mean is not normal enough, and its variance not known well enough."""


class Estimate(NamedTuple):
    """A figure and its interval; bounds are None while there are too few visits."""

    mean: float
    low: float | None
    high: float | None

    @property
    def leaves_out_zero(self) -> bool:
        """Whether the interval says which side of 0 the figure is on."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def widening(count: int, planned: float, alpha: float) -> float:
    """Half-width of the interval over the standard error, after `count` visits; 1.96 would hold for one look only.

    planned: the count at which it is narrowest for its standard error.
    """
    log = -2 * math.log(alpha)
    rho2 = (log + math.log(log) + 1) / planned
    inside = count * rho2 + 1
    return math.sqrt(2 * inside / (count * rho2) * math.log(math.sqrt(inside) / alpha))


def estimate_mean(arm: Moments, *, planned: float, alpha: float = ALPHA) -> Estimate:
    """The mean of a figure over the viewers that an arm may get. planned: visits of this arm."""
    if arm.count < LEAST:
        return Estimate(arm.mean, None, None)
    half = math.sqrt(arm.variance / arm.count) * widening(arm.count, planned, alpha)
    return Estimate(arm.mean, arm.mean - half, arm.mean + half)


def estimate_difference(arm: Moments, control: Moments, *, alpha: float = ALPHA) -> Estimate:
    """How much more the figure is in `arm` than in `control`, for viewers drawn between the two."""
    mean = arm.mean - control.mean
    if min(arm.count, control.count) < LEAST:
        return Estimate(mean, None, None)
    error = math.sqrt(arm.variance / arm.count + control.variance / control.count)
    half = error * widening(arm.count + control.count, PLANNED, alpha)
    return Estimate(mean, mean - half, mean + half)


def is_uneven(count: int, of: int, share: float, *, alpha: float = 0.001) -> bool:
    """Whether an arm has another part of all visits than its share, which chance hardly ever does, watched or not.

    Then viewers of one arm go missing, and no figure can be trusted: a sample ratio mismatch (Fabijan et al., KDD
    2019).
    """
    if of < 2 * LEAST:
        return False
    return abs(count / of - share) > math.sqrt(share * (1 - share) / of) * widening(of, PLANNED, alpha)

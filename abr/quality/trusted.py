"""Trusted quality: what a lifted picture counts for when VMAF is not the only judge; and which members it fails.

    trusted = VMAF of plain + min(attested · step of VMAF to the next rung, lift of VMAF),
    attested = mean of the medians, over fidelity and over detail members, of (lifted − plain) / (next rung − plain).

Fidelity members undervalue restored detail and detail members overvalue it, so the truth lies between the two medians;
half way is a convention until people were asked. In words: by how much of a rung does the panel say that the picture
rose, and never more than VMAF says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from abr.quality.panel import PANEL, Member, Role, members_named

Figures = Mapping[str, float]
"""One figure for each member's name: the means of a segment, or of a title."""

FIDELITY_JUDGES: Final = members_named(("psnr_hvs_db", "xpsnr_y_db", "ms_ssim", "ssimulacra2"))
DETAIL_JUDGES: Final = members_named(("vmaf_neg", "erqa"))
_GROUPS: Final = ((Role.FIDELITY, FIDELITY_JUDGES), (Role.DETAIL, DETAIL_JUDGES))
SHARE_MIN, SHARE_MAX = -1.0, 1.0
"""No member says more than one rung, so that one with a small step does not speak for all."""
STEP_TOLERANCES = 3.0
"""A member abstains when the next rung is better than plain by fewer than this many of its tolerances."""
FALLS_AT_MOST = 1 / 20
"""The share of segments on which a member may fall before an enhancer is not offered."""
SAMPLING_ERROR = 1 / 20
"""How often chance alone may refuse an enhancer that falls on just so many segments."""


def trusted_quality(plain: Figures, lifted: Figures, next_rung: Figures | None) -> float:
    """VMAF, 0–100, that the panel attests to a lifted picture. All three show one segment at display size.

    plain: the rung upscaled. lifted: the rung enhanced. next_rung: the plain picture of the rung above. For the top
    rung give `mirrored_step`, or None: then only a loss of VMAF counts, since nothing says how long a step would be.

    The result equals plain VMAF when nothing is lifted and never falls when a member's share rises. It stays within one
    step of plain, and is never above lifted VMAF. A share below 0, where a member says worse than plain, counts as it
    is, down to −1; one above 1 counts as 1: a lifted picture is never taken for better than the next rung.

    Members that a side lacks, or that find the next rung no better than plain, abstain. Without any in one group the
    other decides, without any at all None's rule holds. Raises KeyError without VMAF.
    """
    lift = lifted["vmaf"] - plain["vmaf"]
    attested = attested_share(plain, lifted, next_rung) if next_rung is not None else None
    if next_rung is None or attested is None:
        return plain["vmaf"] + min(0.0, lift)
    step = max(0.0, next_rung["vmaf"] - plain["vmaf"])
    return max(0.0, plain["vmaf"] + min(attested * step, lift))


def attested_share(plain: Figures, lifted: Figures, next_rung: Figures) -> float | None:
    """The part of the step to the next rung that the lift makes up, −1 to 1; None when every member abstains."""
    medians = group_medians(plain, lifted, next_rung).values()
    return sum(medians) / len(medians) if medians else None


def group_medians(plain: Figures, lifted: Figures, next_rung: Figures) -> dict[Role, float]:
    """The median share of each group of judges, without groups that abstain."""
    groups = ((role, shares(judges, plain, lifted, next_rung)) for role, judges in _GROUPS)
    return {role: median(told.values()) for role, told in groups if told}


def shares(judges: Sequence[Member], plain: Figures, lifted: Figures, next_rung: Figures) -> dict[str, float]:
    """Each member's share of the step that the lift makes up, by name, without those that abstain."""
    found: dict[str, float] = {}
    for judge in judges:
        if not all(judge.name in figures for figures in (plain, lifted, next_rung)):
            continue
        step = judge.gain(plain[judge.name], next_rung[judge.name])
        if step >= STEP_TOLERANCES * judge.tolerance:
            share = judge.gain(plain[judge.name], lifted[judge.name]) / step
            found[judge.name] = min(SHARE_MAX, max(SHARE_MIN, share))
    return found


def groups_against(plain: Figures, lifted: Figures, next_rung: Figures) -> tuple[Role, ...]:
    """The groups of judges whose median says that the lifted picture is worse than plain."""
    return tuple(role for role, told in group_medians(plain, lifted, next_rung).items() if told < 0)


def mirrored_step(below: Figures, top: Figures) -> dict[str, float]:
    """A rung above the top one, as far from it as the one below: steps shrink upwards, so shares come out too small."""
    return {name: 2 * top[name] - below[name] for name in top if name in below}


def falling_members(plain: Figures, lifted: Figures, tolerances: Figures | None = None) -> tuple[str, ...]:
    """Names of the members to which the lifted picture is worse than plain, by more than can hardly be seen.

    tolerances: by member, in its unit; one without takes `Member.hardly_visible`. Members that a side lacks
    say nothing.
    """
    allowed = {each.name: each.hardly_visible(plain[each.name]) for each in PANEL if each.name in plain}
    allowed |= dict(tolerances or {})
    return tuple(
        member.name
        for member in PANEL
        if member.name in plain
        and member.name in lifted
        and member.gain(plain[member.name], lifted[member.name]) < -allowed[member.name]
    )


def refusing_members(
    plain: Sequence[Figures], lifted: Sequence[Figures], tolerances: Figures | None = None, *, sampled: bool = False
) -> tuple[str, ...]:
    """Names of the members that fall on more segments than they may: why an enhancer is not offered.

    Both lists have one entry a segment. sampled: the segments are a sample of those that count, see `falls_allowed`.
    Raises ValueError when they differ in length.
    """
    fallen = [falling_members(*pair, tolerances) for pair in zip(plain, lifted, strict=True)]
    counts = {member.name: sum(member.name in names for names in fallen) for member in PANEL}
    allowed = falls_allowed(len(fallen)) if sampled else FALLS_AT_MOST * len(fallen)
    return tuple(name for name, count in counts.items() if count > allowed)


def falls_allowed(judged: int) -> int:
    """On how many of a sample of segments a member may fall before it is clear that it does on too many of all.

    That is so where, if it fell on one segment in twenty, fewer than SAMPLING_ERROR of such samples would have as many
    falls (one-sided binomial test). One fall among six judged segments says little of the other segments.
    """
    at_least = 1.0
    for falls in range(judged + 1):
        if at_least < SAMPLING_ERROR:
            return falls - 1
        at_least -= math.comb(judged, falls) * FALLS_AT_MOST**falls * (1 - FALLS_AT_MOST) ** (judged - falls)
    return judged

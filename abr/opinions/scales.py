"""What the rungs of a title are worth to people, as a scale of its quality.

A QoE learnt from pictures of known quality has one scale for all titles. One learnt from rates and heights says what
each rung is worth, played plainly. Between the rungs a title's own VMAF tells how far a segment or a lifted picture
has come: a lifted picture is worth what a plain one of the same (trusted) quality is worth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from abr.core.arrays import Floats
from abr.core.enhancement import Currency, EnhancementTable
from abr.core.options import PriceList, plain_of
from abr.core.pricing import TitleOptions
from abr.core.quality_scale import QualityScale
from abr.core.title import Title
from abr.errors import InputError
from abr.opinions.features import BEYOND
from abr.opinions.fitted import FittedQoe
from abr.records import dumps

_OF_RUNGS = frozenset({"rate_kbps", "height_px"})
_OF_SESSIONS = frozenset({"change", "stall_s", "startup_s", "enhanced_share"})
_BEST_VMAF = 100.0
_GRID: Floats = np.linspace(0.0, _BEST_VMAF, 41)
_APART = 1e-6
"""Rungs whose VMAF is nearer than this are one knot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A rung as its title describes it. vmaf: mean over segments, played plainly. height_px: None if not known."""

    vmaf: float
    rate_kbps: float
    height_px: float | None = None


def scale_of(fitted: FittedQoe, rungs: Sequence[Rung]) -> QualityScale:
    """The scale of a title with these rungs. Raises InputError where the QoE weighs what is not known of titles."""
    names = set(fitted.design.names)
    if "quality" in names and names <= _OF_SESSIONS | {"quality"}:
        none = np.zeros(len(_GRID))
        points = fitted.points({name: _GRID if name == "quality" else none for name in names})
        return _rising(_GRID, points)
    if not names <= _OF_RUNGS:
        raise InputError(
            f"This QoE weighs {', '.join(sorted(names - _OF_RUNGS))}, which is not known of titles: fit it on quality, "
            "or with --features rate_kbps or rate_kbps,height_px."
        )
    if "height_px" in names and any(rung.height_px is None for rung in rungs):
        raise InputError("This QoE weighs height_px, which is not known here: fit it with --features rate_kbps.")
    ends = list(rungs)
    if all(rung.vmaf < _BEST_VMAF - _APART for rung in rungs):  # what looks like the source is worth what that is
        ends.append(Rung(vmaf=_BEST_VMAF, rate_kbps=BEYOND, height_px=BEYOND))
    points = fitted.points(
        {
            "rate_kbps": np.array([rung.rate_kbps for rung in ends]),
            "height_px": np.array([rung.height_px or BEYOND for rung in ends]),
        }
    )
    return _rising(np.array([0.0, *(rung.vmaf for rung in ends)]), np.array([0.0, *points]))


def title_scale(fitted: FittedQoe, title: Title) -> QualityScale:
    """Of a title; of one in several codecs by the first of its ladders."""
    rungs = [
        Rung(
            vmaf=float(np.mean(title.plain_quality[each.id].vmaf)),
            rate_kbps=each.average_bps / 1000,
            height_px=float(each.height_px),
        )
        for each in title.by_ladder[0].renditions
        if each.id in title.plain_quality
    ]
    return scale_of(fitted, rungs)


def list_scale(fitted: FittedQoe, prices: PriceList, heights_px: Sequence[float] = ()) -> QualityScale:
    """Of a price list. heights_px: of its pictures, from the lowest rung up; none where they are not known."""
    plain = plain_of(prices)
    if heights_px and len(heights_px) != len(plain):
        raise InputError(f"There are {len(heights_px)} heights for {len(plain)} rungs.")
    seconds = float(prices.duration_s.sum())
    rungs = [
        Rung(
            vmaf=float(np.nanmean(prices.vmaf[:, option])),
            rate_kbps=float(np.nansum(prices.size_bytes[:, option])) * 8 / 1000 / seconds,
            height_px=heights_px[rung] if heights_px else None,
        )
        for rung, option in enumerate(plain)
    ]
    return scale_of(fitted, rungs)


@dataclass(frozen=True, slots=True)
class CountedQuality:
    """What counts as quality: a currency, put through the scale of a QoE learnt from people where there is one."""

    currency: Currency = Currency.TRUSTED
    qoe: FittedQoe | None = None

    @property
    def name(self) -> str:
        """Tells one from another: the currency, and a digest of the QoE."""
        return self.currency if self.qoe is None else f"{self.currency} {hashlib.sha256(dumps(self.qoe)).hexdigest()}"

    def scale(self, title: Title) -> QualityScale | None:
        """Of a title. Raises InputError where the QoE weighs what is not known of titles."""
        return None if self.qoe is None else title_scale(self.qoe, title)

    def options(self, title: Title, table: EnhancementTable | None) -> TitleOptions:
        """What a title may offer, so counted."""
        return TitleOptions(title, table, self.currency, self.scale(title))


def in_points(prices: PriceList, scale: QualityScale) -> PriceList:
    """The same offers, their quality in a scale's points. What energy takes off stays as many points."""
    taken = 0.0 if prices.energy_points is None else prices.energy_points
    return replace(prices, quality=scale.of(prices.quality + taken) - taken, planned=None)


def _rising(vmaf: Floats, points: Floats) -> QualityScale:
    """Knots in the order of VMAF. A rung that is worth less than one of lower VMAF is worth as much as that."""
    order = np.argsort(vmaf, kind="stable")
    vmaf, points = vmaf[order], np.maximum.accumulate(points[order])
    last = np.append(np.diff(vmaf) > _APART, True)
    return QualityScale(tuple(vmaf[last].tolist()), tuple(points[last].tolist()))

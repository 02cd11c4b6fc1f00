"""What a title offers a device: the options that the device is quick enough for, with what each costs there.

A title is watched on a thousand kinds of device. Their price lists differ in compute, and little else: sizes and
qualities are made once for each set of options, and all lists of it share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from abr.core.arrays import Floats
from abr.core.device import DeviceProfile
from abr.core.energy import frame_energy_j, price_points
from abr.core.enhancement import Currency, EnhancementTable, Family, Offer, PlanOffer
from abr.core.options import FAMILIES, VMAF_MAX, Choice, PriceList, counted_quality
from abr.core.quality_scale import QualityScale
from abr.core.title import Rendition, Title
from abr.errors import FormatError


def price(
    title: Title,
    table: EnhancementTable | None = None,
    profile: DeviceProfile | None = None,
    *,
    families: Collection[Family] = FAMILIES,
    load_max: float = 0.9,
    currency: Currency = Currency.TRUSTED,
    scale: QualityScale | None = None,
) -> PriceList:
    """`TitleOptions.price` for a single list."""
    return TitleOptions(title, table, currency, scale).price(profile, families=families, load_max=load_max)


PLAN_WORTH = 0.5
"""Points by which a frame plan must beat every tier that the device can run, to be an option beside them."""


class FrameCost(NamedTuple):
    """What a frame takes of the device."""

    seconds: float
    joules: float


def plan_frame_cost(plan: PlanOffer, profile: DeviceProfile, rendition: Rendition) -> FrameCost | None:
    """Mean cost of a plan's frames; None when the device has not measured all that the plan does."""
    seconds = joules = 0.0
    for each in plan.shares:
        speed = profile.best(each.architecture, rendition.width_px, rendition.height_px) if each.share else None
        if speed is None and each.share:
            return None
        seconds += each.share * speed.p95_ms / 1000 if speed else 0.0
        joules += each.share * frame_energy_j(profile, speed) if speed else 0.0
    return FrameCost(seconds, joules)


class TitleOptions:
    """All that a title may offer, its quality in one currency; plain playback's is VMAF in either.

    Where there is a scale, quality then goes through that.
    Of a title in several codecs it is what the first of its ladders offers: viewers keep to one.
    """

    def __init__(
        self,
        title: Title,
        table: EnhancementTable | None = None,
        currency: Currency = Currency.TRUSTED,
        scale: QualityScale | None = None,
    ) -> None:
        """Raises FormatError when the title does not tell the quality of its renditions."""
        self._title = title = title.by_ladder[0]
        self._table = table
        self._currency = currency
        self._scale = scale
        self._frames = np.asarray(title.segment_frames, dtype=np.float64)[:, None]
        self._duration_s = np.asarray(title.segment_duration_s, dtype=np.float64)
        self._sound = _audio_bytes(title)
        self._plain = [self._plain_column(index, rendition) for index, rendition in enumerate(title.renditions)]
        self._lifts: dict[Choice, _Column | None] = {}
        self._arrays: WeakValueDictionary[tuple[str, tuple[_Column, ...]], Floats] = WeakValueDictionary()

    def price(
        self, profile: DeviceProfile | None = None, *, families: Collection[Family] = FAMILIES, load_max: float = 0.9
    ) -> PriceList:
        """Price the title for a device. Its sizes and qualities are shared with other lists: do not write to them.

        An enhancer is offered for a rendition when its family is allowed, the device measured its architecture, it runs
        within `load_max` of real time at that size, and it beats plain playback of that rendition on average. Where the
        profile tells how long the rendition's codec takes to decode, a lifted frame takes that too. The best
        frame plan of which the same is true is offered when it beats all tiers that are, by PLAN_WORTH.
        Without table or profile only plain playback is offered. A segment's bytes include those of the audio it plays
        with. For a profile that wishes energy saved, what it takes is taken off quality, in points: what is not worth
        its energy is not offered. Raises FormatError when the table does not fit the title.
        """
        offered = list(self._offered(profile, families, load_max))
        columns = tuple(priced.column for priced in offered)
        compute_s = self._frames * np.array([priced.cost.seconds for priced in offered])
        quality = self._shared("quality", columns, lambda column: column.quality)
        points = np.array([priced.points for priced in offered]) if any(each.points for each in offered) else None
        prices = PriceList(
            rendition_ids=tuple(rendition.id for rendition in self._title.renditions),
            choices=tuple(column.choice for column in columns),
            duration_s=self._duration_s,
            size_bytes=self._shared("size_bytes", columns, lambda column: column.sizes),
            compute_s=compute_s,
            lead_s=np.maximum(compute_s - self._duration_s[:, None], 0.0),
            quality=quality if points is None else quality - points,
            vmaf=self._shared("vmaf", columns, lambda column: column.vmaf),
            weights=tuple(tuple(column.chunks) for column in columns),
            weights_bytes={key: size for column in columns for key, size in column.chunks.items()},
            energy_w=np.array([priced.cost.joules * self._title.fps for priced in offered]),
            energy_points=points,
        )
        prices.check()
        return prices

    def _offered(
        self, profile: DeviceProfile | None, families: Collection[Family], load_max: float
    ) -> Iterator[_Priced]:
        """The options of each rendition, plain playback first, with the seconds of compute that a frame takes."""
        title = self._title
        for plain, rendition in zip(self._plain, title.renditions, strict=True):
            yield _Priced(plain, FrameCost(0.0, 0.0), 0.0)
            if profile is not None and self._table is not None:
                decode_s = profile.decode_s(rendition.sample_entry, rendition.width_px, rendition.height_px)
                lifts = _tiers_of(self._table, profile, rendition, families)
                planned = _plans_of(self._table, profile, rendition, families)
                tiers = list(self._within(plain, _decoded_first(lifts, decode_s), profile, load_max))
                plans = self._within(plain, _decoded_first(planned, decode_s), profile, load_max)
                yield from _with_plan(tiers, max(plans, key=_mean_quality, default=None))

    def _within(
        self, plain: _Column, lifts: Iterable[_Lift], profile: DeviceProfile, load_max: float
    ) -> Iterator[_Priced]:
        """Those that take no more of real time than `load_max`, beat plain playback, and are worth their energy."""
        for name, offer, cost in lifts:
            if cost is None or cost.seconds * self._title.fps > load_max:
                continue
            if (column := self._lift_column(plain, name, offer)) is not None:
                points = price_points(profile, cost.joules * self._title.fps)
                if not points or np.nanmean(np.subtract(column.quality, plain.quality)) > points:
                    yield _Priced(column, cost, points)

    def _plain_column(self, index: int, rendition: Rendition) -> _Column:
        sizes = tuple(size + extra for size, extra in zip(rendition.segment_bytes, self._sound, strict=True))
        known = self._title.plain_quality.get(rendition.id)
        if known is None:
            raise FormatError(
                f"Title {self._title.id!r} tells no quality of its rendition {rendition.id!r}; prepare it again."
            )
        vmaf = _points(known.vmaf, len(sizes), f"Rendition {rendition.id!r}")
        return _Column(Choice(rendition=index), sizes, self._scaled(vmaf), vmaf, {})

    def _lift_column(self, plain: _Column, name: str, offer: Offer) -> _Column | None:
        """None when it does not beat plain playback."""
        choice = Choice(rendition=plain.choice.rendition, enhancer=name)
        if choice not in self._lifts:
            what = f"Enhancer {name!r} of rendition {offer.rendition!r}"
            vmaf = _points(offer.quality.vmaf, len(plain.sizes), what)
            quality = self._scaled(_points(counted_quality(offer.quality, self._currency), len(plain.sizes), what))
            chunks = {chunk.sha256: chunk.size_bytes for chunk in offer.chunks}
            wins = np.nansum(np.subtract(quality, plain.quality)) > 0
            self._lifts[choice] = _Column(choice, plain.sizes, quality, vmaf, chunks) if wins else None
        return self._lifts[choice]

    def _scaled(self, quality: tuple[float, ...]) -> tuple[float, ...]:
        return quality if self._scale is None else self._scale.of_each(quality)

    def _shared(self, name: str, columns: tuple[_Column, ...], points: Callable[[_Column], Sequence[float]]) -> Floats:
        """(S, O), made once for as long as a list has it."""
        array = self._arrays.get((name, columns))
        if array is None:
            array = np.array([points(column) for column in columns], dtype=np.float64).T
            self._arrays[name, columns] = array
        return array


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    choice: Choice
    sizes: tuple[int, ...]
    quality: tuple[float, ...]
    vmaf: tuple[float, ...]
    chunks: dict[str, int]


class _Priced(NamedTuple):
    """An option, what a frame of it takes, and the points of quality that its energy has to bring."""

    column: _Column
    cost: FrameCost
    points: float


_Lift: TypeAlias = tuple[str, Offer, FrameCost | None]
"""The name of an enhancer, its offer, and what a frame takes of the device; None when it has not measured."""


def _tiers_of(
    table: EnhancementTable, profile: DeviceProfile, rendition: Rendition, families: Collection[Family]
) -> Iterator[_Lift]:
    for entry in table.enhancers:
        offer = entry.offer(rendition.id)
        if entry.family in families and offer is not None:
            speed = profile.best(offer.architecture, rendition.width_px, rendition.height_px)
            yield entry.name, offer, FrameCost(speed.p95_ms / 1000, frame_energy_j(profile, speed)) if speed else None


def _plans_of(
    table: EnhancementTable, profile: DeviceProfile, rendition: Rendition, families: Collection[Family]
) -> Iterator[_Lift]:
    for plan in table.plans:
        if plan.family in families and plan.offer.rendition == rendition.id:
            yield plan.name, plan.download, plan_frame_cost(plan, profile, rendition)


def _decoded_first(lifts: Iterable[_Lift], decode_s: float) -> Iterator[_Lift]:
    """Lifts of frames that take so long to decode. Energy is that of the lift: plain playback decodes them too."""
    for name, offer, cost in lifts:
        yield name, offer, cost and FrameCost(cost.seconds + decode_s, cost.joules)


def _mean_quality(priced: _Priced) -> float:
    return float(np.nanmean(priced.column.quality)) - priced.points


def _with_plan(tiers: Sequence[_Priced], plan: _Priced | None) -> Sequence[_Priced]:
    """The tiers, and the plan where it beats all of them; then without tiers that it beats in every way.

    So a menu grows by one option a rendition at most, and only where that is worth more than all others.
    """
    if plan is None or _mean_quality(plan) < max(map(_mean_quality, tiers), default=-math.inf) + PLAN_WORTH:
        return tiers
    bytes_needed = sum(plan.column.chunks.values())
    kept = [
        tier
        for tier in tiers
        if tier.cost.seconds < plan.cost.seconds or sum(tier.column.chunks.values()) < bytes_needed
    ]
    return [*kept, plan]


def _points(values: Sequence[float], segments: int, what: str) -> tuple[float, ...]:
    """VMAF points of each segment; NaN, a hole, where a negative number says that there are none."""
    if len(values) != segments:
        raise FormatError(f"{what} tells the quality of {len(values)} segments where the title has {segments}.")
    if not max(values, default=0.0) <= VMAF_MAX:
        raise FormatError(f"{what} claims a VMAF of {max(values):g}; expected 0 to 100, or -1 where there is none.")
    return tuple(value if value >= 0 else math.nan for value in values)


def _audio_bytes(title: Title) -> tuple[int, ...]:
    """Bytes of the first audio track for each video segment; audio may end a segment earlier or later."""
    count = len(title.segment_frames)
    track = title.audio[0].segment_bytes if title.audio else ()
    return (*track[:count], *(0 for _ in range(count - len(track))))

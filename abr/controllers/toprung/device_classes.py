"""Devices fall into classes, so that plans are made for a few kinds of device and not for each viewer.

A plan depends on what each option costs only in so far as the backlog grows, and that little. So costs count in steps
of COST_STEP: within one class the same options are offered, and each costs within a factor of the square root of it.
What a viewer's own device can finish in time is not decided here: decisions use its own costs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from weakref import ReferenceType, ref

import numpy as np

from abr.controllers.common import per_title
from abr.controllers.toprung.grids import throughput_levels
from abr.controllers.toprung.value_tables import HOLE_VMAF, fill_holes
from abr.core.arrays import Floats, Truths
from abr.core.enhancement import PLAIN
from abr.core.options import PriceList, known_cells

COST_STEP = 4.0
"""From one class to the next in seconds of compute for a second of video."""
LOAD_MIN = 0.25
"""Whoever needs less than this for a second of video counts as if it needed so much: never is anything late."""
BUFFER_UNIT_S = 60.0
"""Plans are made for this much buffer, and for it halved or doubled some times."""
_HALVINGS = 4
_CLASSES_MAX = 16
"""Sets of options of one price list whose class is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceClass:
    """What devices of one class are offered of one title.

    title: tells titles apart, by what they offer without enhancers. key: tells the classes of all titles apart.
    options: those of the price list that it was made from. frontier: (L,) the best mean quality, VMAF, that a network
    of each throughput level carries.
    """

    title: bytes
    key: bytes
    options: tuple[int, ...]
    frontier: Floats

    def distance(self, other: DeviceClass) -> float:
        """How far the plans of two classes of a title are apart, in VMAF: mean over throughput levels."""
        return float(np.abs(self.frontier - other.frontier).mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Classes:
    """Those of one price list, by options."""

    known: dict[tuple[int, ...], DeviceClass] = field(default_factory=dict)


@per_title
def _classes_of(prices: PriceList) -> _Classes:
    return _Classes()


def class_of(prices: PriceList, options: tuple[int, ...]) -> DeviceClass:
    """The class of a device that is offered these options of the list; remembered with the list."""
    known = _classes_of(prices).known
    found = known.get(options)
    if found is None:
        if len(known) >= _CLASSES_MAX:
            known.clear()
        found = known[options] = _classify(prices, options)
    return found


def class_prices(prices: PriceList, options: tuple[int, ...]) -> PriceList:
    """What the class of these options is planned with: their costs rounded, holes filled. The same for all of it."""
    filled = fill_holes(prices, list(options))
    loads, steps = _loads(filled.compute_s, filled.duration_s)
    typical = np.where(steps < 0, 0.0, LOAD_MIN * COST_STEP ** steps.astype(np.float64))
    compute_s = filled.duration_s[:, None] * np.broadcast_to(typical, filled.compute_s.shape)
    lead_s = (
        compute_s
        if _is_whole_segment(filled.lead_s, loads)
        else np.maximum(compute_s - filled.duration_s[:, None], 0.0)
    )
    return replace(filled, compute_s=compute_s, lead_s=np.where(compute_s > 0, lead_s, 0.0))


@lru_cache(maxsize=1024)
def buffer_class_s(buffer_max_s: float) -> float:
    """The buffer that plans are made for, for a viewer who can hold so much."""
    halvings = round(float(np.log2(BUFFER_UNIT_S / max(buffer_max_s, 1e-3))))
    return BUFFER_UNIT_S / 2.0 ** min(max(halvings, -_HALVINGS), _HALVINGS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Offer:
    """What all devices have in common that are offered the same options of a title.

    holes: (S, P), None without any. begun: of the digest that tells classes apart. carried: (L, P) whether a network of
    a throughput level carries an option. quality: (P,) mean, VMAF.
    """

    tables: tuple[ReferenceType[Floats], ...]
    """Sizes and qualities that it was made from: it is forgotten with them."""
    holes: Truths | None
    title: bytes
    begun: hashlib.blake2b
    carried: Truths
    quality: Floats


_Key = tuple[int, int, tuple[int, ...]]
_offers: dict[_Key, _Offer] = {}
"""By the identity of the tables, and the options."""


def _classify(prices: PriceList, options: tuple[int, ...]) -> DeviceClass:
    offer = _offer_of(prices, options)
    compute_s, lead_s = (_without_repeats(table)[:, options] for table in (prices.compute_s, prices.lead_s))
    if offer.holes is not None:
        compute_s, lead_s = (np.where(offer.holes, 0.0, table) for table in (compute_s, lead_s))
    loads, steps = _loads(compute_s, prices.duration_s)
    key = offer.begun.copy()
    key.update(steps.tobytes())
    key.update(np.array([_is_whole_segment(lead_s, loads)]).tobytes())
    frontier = np.where(offer.carried & (loads <= 1), offer.quality, 0.0).max(axis=1, initial=0.0)
    return DeviceClass(title=offer.title, key=key.digest(), options=options, frontier=frontier)


def _offer_of(prices: PriceList, options: tuple[int, ...]) -> _Offer:
    """Made once for lists that share their tables, as those of one title do (`abr.core.pricing`)."""
    key = id(prices.size_bytes), id(prices.quality), options
    if not all(known_cells(_without_repeats(table)).all() for table in (prices.compute_s, prices.lead_s)):
        return _make_offer(prices, key)  # holes of its own
    offer = _offers.get(key)
    if offer is None:
        offer = _offers[key] = _make_offer(prices, key)
    return offer


def _make_offer(prices: PriceList, key: _Key) -> _Offer:
    def forget(_: ReferenceType[Floats]) -> None:
        _offers.pop(key, None)

    options = key[2]
    filled, seconds = fill_holes(prices, list(options)), float(prices.duration_s.mean())
    plain = [i for i, choice in enumerate(filled.choices) if choice.enhancer == PLAIN]
    choices = repr([(choice.rendition, choice.enhancer) for choice in filled.choices]).encode()
    rates = np.log(np.maximum(filled.size_bytes.mean(axis=0) * 8 / seconds, 1e-9))
    known = known_cells(filled.quality) & (filled.quality > 0)
    holes = filled.quality == HOLE_VMAF
    return _Offer(
        tables=tuple(ref(table, forget) for table in (prices.size_bytes, prices.quality)),
        holes=holes if holes.any() else None,
        title=_digest(filled.duration_s, filled.size_bytes[:, plain], filled.quality[:, plain]).digest(),
        begun=_digest(filled.duration_s, filled.size_bytes, filled.quality, start=choices),
        carried=rates <= throughput_levels(filled)[:, None],
        quality=np.where(known, filled.quality, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1),
    )


def _without_repeats(table: Floats) -> Floats:
    """One row of a table in which one stands for all."""
    return table if table.strides[0] else table[:1]


def _loads(compute_s: Floats, duration_s: Floats) -> tuple[Floats, Floats]:
    """(P,) mean seconds of compute for a second of video, and its step, -1 for nothing at all."""
    loads = compute_s.mean(axis=0) / duration_s.mean()
    steps = np.round(np.log(np.maximum(loads, LOAD_MIN) / LOAD_MIN) / np.log(COST_STEP))
    return loads, np.where(loads > 0, steps, -1.0)


def _is_whole_segment(lead_s: Floats, loads: Floats) -> bool:
    """Whether the device enhances whole segments at a time: something lighter than real time has to be done ahead."""
    light = (loads > 0) & (loads < 1)
    return bool((lead_s[:, light] > 0).any())


def _digest(*arrays: Floats, start: bytes = b"") -> hashlib.blake2b:
    digest = hashlib.blake2b(start, digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest

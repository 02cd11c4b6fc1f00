"""The options of a title that Toprung looks at: those that no other option beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from abr.controllers.common import per_title
from abr.core.arrays import Floats, Indices
from abr.core.options import PriceList, known_cells

LOAD_MAX = 2.5
"""Enhancers that need more than this many seconds of compute for a second of video are left out."""
OWNED_MAX = 256
"""Sets of weights remembered with a title."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """P options of a title.

    options: indices into the price list, ascending; index: the same as an array. plain: for each the row of the
    cheapest one of its rendition, which shows when an enhancement would be late. has_holes: some segment lacks
    one of them. owned: by the bytes of weights lacking, those of the options whose weights are there; layouts: by the
    same, how a table of them is laid out.
    """

    options: tuple[int, ...]
    index: Indices
    plain: Indices
    has_holes: bool
    owned: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    layouts: dict[bytes, Layout] = field(default_factory=dict)


class DeviceRows(NamedTuple):
    """What a device takes for the options of a segment.

    known: compute and lead seconds as the price list has them, (P,) each. gained_s, lead_s, lead_max_s: as in
    OptionTable.
    """

    known: tuple[Floats, Floats]
    gained_s: Floats
    lead_s: Floats
    lead_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """How the table of a segment is laid out for who lacks some weights (abr.controllers.toprung.option_table).

    P rows, options whose weights are there first, when there are both. options, owned_options, sorting, plain,
    fetch_bytes: as in OptionTable. owned_among: where the owned ones are among all. index: (P,) of each row in the
    price list. weights_bytes: (P,) lacking. twice: (V,) the rows, and those owned again. first: (V,) number of the row
    among the values of all, then of those owned. key: equal for all that are laid out alike. device_rows: by the
    duration of a segment.
    """

    options: tuple[int, ...]
    owned_options: tuple[int, ...]
    owned_among: Indices
    sorting: Indices | None
    plain: Indices
    fetch_bytes: float
    index: Indices
    weights_bytes: Floats
    twice: Indices
    first: Floats
    key: bytes
    device_rows: dict[float, DeviceRows] = field(default_factory=dict)


@per_title
def candidates_of(prices: PriceList) -> Candidates:
    """The options that no other of the same rendition beats in mean compute, mean quality and weights."""
    options = _pareto_front(prices)
    index = np.asarray(options, dtype=np.intp)
    known = known_cells(prices.size_bytes, prices.quality, prices.compute_s, prices.lead_s)[:, index]
    return Candidates(options=options, index=index, plain=plain_rows(prices, options), has_holes=not known.all())


def option_sets(prices: PriceList, weights_bytes: Floats) -> list[tuple[int, ...]]:
    """The sets of options that value tables are needed for, to decide for a device that lacks these weights, (O,).

    All candidates; and those of them, if not all or none, whose weights are there.
    """
    candidates, key = candidates_of(prices), weights_bytes.tobytes()
    owned = candidates.owned.get(key)
    if owned is None:
        if len(candidates.owned) >= OWNED_MAX:
            candidates.owned.clear()
        owned = candidates.owned[key] = tuple(candidates.index[weights_bytes[candidates.index] == 0].tolist())
    return [candidates.options] if len(owned) in (0, len(candidates.options)) else [candidates.options, owned]


def layout_of(prices: PriceList, candidates: Candidates, weights_bytes: Floats) -> Layout:
    """The layout for a device that lacks these weights, (O,); remembered with the candidates."""
    key = weights_bytes.tobytes()
    layout = candidates.layouts.get(key)
    if layout is None:
        if len(candidates.layouts) >= OWNED_MAX:
            candidates.layouts.clear()
        layout = candidates.layouts[key] = _lay_out(prices, candidates, weights_bytes)
    return layout


def _lay_out(prices: PriceList, candidates: Candidates, weights_bytes: Floats) -> Layout:
    owned_options = (*option_sets(prices, weights_bytes), ())[1]
    lacking = weights_bytes[candidates.index]
    count, owned = len(lacking), len(owned_options)
    rows = np.argsort(lacking > 0, kind="stable") if owned else np.arange(count)
    place = np.argsort(rows)
    first = np.concatenate([rows, rows[:owned]])
    first[:owned] = count + np.arange(owned)
    index, weights = candidates.index[rows], lacking[rows]
    return Layout(
        options=candidates.options,
        owned_options=owned_options,
        owned_among=rows[:owned],
        sorting=place if owned else None,
        plain=place[candidates.plain[rows]],
        fetch_bytes=float(lacking.max()),
        index=index,
        weights_bytes=weights,
        twice=np.concatenate([np.arange(count), np.arange(owned)]),
        first=first.astype(np.float64),
        key=index.tobytes() + weights.tobytes(),
    )


def plain_rows(prices: PriceList, options: Sequence[int]) -> Indices:
    """For each of the options the row among them of the first of its rendition: the cheapest."""
    renditions = [prices.choices[option].rendition for option in options]
    return np.array([renditions.index(rendition) for rendition in renditions], dtype=np.intp)


def _pareto_front(prices: PriceList) -> tuple[int, ...]:
    known = known_cells(prices.quality, prices.compute_s)
    count = np.maximum(known.sum(axis=0), 1)
    vmaf = np.where(known, prices.quality, 0.0).sum(axis=0) / count
    compute_s = np.where(known, prices.compute_s, 0.0).sum(axis=0) / count
    weights_bytes = [sum(prices.weights_bytes[key] for key in keys) for keys in prices.weights] or [0] * len(vmaf)
    kept: list[int] = []
    for option in sorted(range(len(prices.choices)), key=lambda i: (compute_s[i], -vmaf[i], i)):
        cheaper = [
            other
            for other in kept
            if prices.choices[other].rendition == prices.choices[option].rendition
            and weights_bytes[other] <= weights_bytes[option]
        ]
        is_sustained = compute_s[option] <= LOAD_MAX * prices.duration_s.mean()
        if not cheaper or (is_sustained and vmaf[option] > max(vmaf[other] for other in cheaper)):
            kept.append(option)
    return tuple(sorted(kept))

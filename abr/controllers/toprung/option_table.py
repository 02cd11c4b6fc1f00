"""What may be chosen at one segment, laid out for quick decisions: prices of the options, and values to look up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from abr.controllers.toprung.backward_induction import ValueTable, hat_weights
from abr.controllers.toprung.candidates import DeviceRows, Layout, candidates_of, layout_of
from abr.controllers.toprung.compact_plans import CompactPlan, SegmentValues, TabulatedValues
from abr.controllers.toprung.grids import BACKLOGS_S
from abr.controllers.toprung.value_tables import HOLE_VMAF, value_table_of
from abr.core.arrays import Floats, Indices, Singles, Truths
from abr.core.options import PriceList, known_cells

OPTION_TABLES_MAX = 256
"""Kept with a value table: its segments, times the sets of weights that sessions lack."""
PLANNED_TABLES_MAX = 1024
"""Kept of those that look into compact plans."""
DEVICE_ROWS_MAX = 8
"""Kept of a layout: segments of a title differ in duration at its end, and little else."""
TITLE_ROWS_MAX = 2048
"""Kept of what such tables of one segment have in common, some 2 kB each."""
DEPTH = len(BACKLOGS_S)
_FAR_S = float(1 << 21)
"""Backlogs lie on one axis with the buffers, this far behind zero, so that one interpolation serves both: farther than
any buffer, and near enough for a nanosecond."""


class OptionTable(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What sessions may choose from at one segment: P candidates, in V ≥ P rows.

    The first `owned` rows are options whose weights are there. Then follow, up to P, those that lack some. Behind them
    the first ones come again, for a session that uses them now and fetches all lacking weights right after. Each array
    begins with an axis of 1, or of M in a table for M sessions (`stack_tables`).

    shape: equal for tables that can be stacked, whatever their titles, segments, devices and numbers of rows.
    options: P indices into the price list, ascending. owned_options: those whose weights are there; empty when that
    is all or none of them.
    sorting: (P,) the rows in the order of `options`, (M, P) where sessions have layouts of their own; None when they
    are in it.
    vmaf: (1, P). size_bytes: (1, 1, V), weights included. fetch_bytes: of all weights lacking, for the repeated rows;
    (M, 1, 1) where sessions have layouts of their own.
    gained_s: (2, 1, 1, V) what the segment adds to the buffer, and to the backlog (see `axis_s`).
    lead_s: (1, P), -inf for plain options, which are never late; lead_max_s: the most of them.
    plain: (P,) or (M, P) the row of the cheapest option of the same rendition.
    holes: (1, P) options that this segment does not have; None when it has all.
    levels: the grid of throughput levels. axis_s, steps: the grid of buffers, and far behind it that of backlogs; and
    the numbers of its nodes.
    values: of all options and of those owned; one each, or one a session.
    first: (V,) or (M, 1, V) where a row's values begin among those of both, as floats to be added to others.
    """

    shape: tuple[object, ...]
    options: tuple[int, ...]
    owned: int
    sorting: Indices | None
    vmaf: Floats
    size_bytes: Floats
    fetch_bytes: float | Floats
    gained_s: Floats
    lead_s: Floats
    plain: Indices
    holes: Truths | None
    lead_max_s: float
    levels: tuple[float, ...]
    axis_s: Floats
    steps: Floats
    values: tuple[tuple[SegmentValues, ...], ...]
    first: Floats
    owned_options: tuple[int, ...]


_tables: WeakKeyDictionary[ValueTable, dict[tuple[int, bytes], OptionTable]] = WeakKeyDictionary()
"""Those that look into a value table, by segment and weights lacking."""
_planned: OrderedDict[tuple[object, ...], OptionTable] = OrderedDict()
"""Those that look into compact plans, least recently used first out."""


def option_table_of(prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> OptionTable:
    """The table for sessions that lack these bytes of weights, (O,), of each option; remembered with its values."""
    candidates = candidates_of(prices)
    values = value_table_of(prices, candidates.options, segment, buffer_max_s)
    key = segment, weights_bytes.tobytes()
    tables = _tables.get(values)
    if tables is None:
        tables = _tables[values] = {}
    table = tables.get(key)
    if table is None:
        if len(tables) >= OPTION_TABLES_MAX:
            tables.clear()
        layout = layout_of(prices, candidates, weights_bytes)
        found, owned = [(_tabulated(values, segment),)], layout.owned_options
        if owned:
            found.append((_tabulated(value_table_of(prices, owned, segment, buffer_max_s), segment),))
        table = tables[key] = _build(prices, segment, layout, candidates.has_holes, values, tuple(found))
    elif table.owned_options:
        value_table_of(prices, table.owned_options, segment, buffer_max_s)  # in use: not the first to be forgotten
    return table


def planned_table_of(
    prices: PriceList, segment: int, weights_bytes: Floats, plans: tuple[CompactPlan, ...]
) -> OptionTable:
    """The same with values from compact plans, one for each of `candidates.option_sets`."""
    candidates = candidates_of(prices)
    key = candidates, segment, weights_bytes.tobytes(), *plans
    table = _planned.get(key)
    if table is not None:
        with suppress(KeyError):  # another thread forgot it just now
            _planned.move_to_end(key)
        return table
    layout = layout_of(prices, candidates, weights_bytes)
    rows = _title_rows_of(prices, segment, layout)
    found = [(plans[0].at(segment, rows.hat(plans[0], prices.quality[segment, candidates.index], "all")),)]
    if layout.owned_options:
        own = candidates.index[layout.owned_among]
        found.append((plans[1].at(segment, rows.hat(plans[1], prices.quality[segment, own], "owned")),))
    table = _planned[key] = _build(prices, segment, layout, candidates.has_holes, plans[0], tuple(found))
    if len(_planned) > PLANNED_TABLES_MAX:
        with suppress(KeyError):
            _planned.popitem(last=False)
    return table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _TitleRows:
    """What the tables of a segment have in common, on whatever devices they are laid out alike.

    tables: those that the rows were cut from, so that their identities stay theirs. vmaf: (P,). size_bytes: (1, 1, V).
    """

    tables: tuple[Floats, Floats]
    vmaf: Floats
    size_bytes: Floats
    hats: dict[tuple[str, bytes], Singles] = field(default_factory=dict)

    def hat(self, plan: CompactPlan, vmaf: Floats, name: str) -> Singles:
        """The shares of a plan's qualities in those of some options, (P, Q). name: tells which options."""
        key = name, plan.qualities.tobytes()
        hat = self.hats.get(key)
        if hat is None:  # NaN where there is a hole
            hat = self.hats[key] = hat_weights(np.where(vmaf == vmaf, vmaf, HOLE_VMAF), plan.qualities)
        return hat


_title_rows: OrderedDict[tuple[object, ...], _TitleRows] = OrderedDict()
"""By the identities of a title's tables, by layout and segment; the longest unused first out."""


def _title_rows_of(prices: PriceList, segment: int, layout: Layout) -> _TitleRows:
    """Remembered: lists of one title share its tables (`abr.core.pricing`)."""
    key = id(prices.size_bytes), id(prices.quality), segment, layout.key
    rows = _title_rows.get(key)
    if rows is None:
        size_bytes = prices.size_bytes[segment, layout.index] + layout.weights_bytes
        rows = _title_rows[key] = _TitleRows(
            tables=(prices.size_bytes, prices.quality),
            vmaf=prices.quality[segment, layout.index],
            size_bytes=size_bytes[None, None, layout.twice],
        )
        if len(_title_rows) > TITLE_ROWS_MAX:
            with suppress(KeyError):
                _title_rows.popitem(last=False)
    else:
        with suppress(KeyError):  # as above
            _title_rows.move_to_end(key)
    return rows


def _build(
    prices: PriceList,
    segment: int,
    layout: Layout,
    has_holes: bool,
    grid: ValueTable | CompactPlan,
    values: tuple[tuple[SegmentValues, ...], ...],
) -> OptionTable:
    title, device = _title_rows_of(prices, segment, layout), _device_rows_of(prices, segment, layout)
    vmaf, size_bytes, holes = title.vmaf, title.size_bytes, None
    if has_holes and (hole := ~known_cells(size_bytes[0, 0, : len(vmaf)], vmaf, *device.known)).any():
        holes, vmaf = hole[None], np.where(hole, HOLE_VMAF, vmaf)
        size_bytes = np.where(hole[layout.twice], 0.0, size_bytes)
        device = _device_rows(prices, segment, layout, hole)
    wide = len(grid.buffers_s) * DEPTH
    axis_s, steps = _axis(grid.buffers_s.tobytes())
    return OptionTable(
        shape=(bool(layout.owned_options), len(steps), float(grid.buffers_s[-1])),
        options=layout.options,
        owned=len(layout.owned_options),
        sorting=layout.sorting,
        vmaf=vmaf[None],
        size_bytes=size_bytes,
        fetch_bytes=layout.fetch_bytes,
        gained_s=device.gained_s,
        lead_s=device.lead_s,
        plain=layout.plain,
        holes=holes,
        lead_max_s=device.lead_max_s,
        levels=tuple(grid.levels.tolist()),
        axis_s=axis_s,
        steps=steps,
        values=values,
        first=layout.first * wide,
        owned_options=layout.owned_options,
    )


def _device_rows_of(prices: PriceList, segment: int, layout: Layout) -> DeviceRows:
    """Remembered with the layout where one row of costs stands for all segments."""
    if prices.compute_s.strides[0] or prices.lead_s.strides[0]:
        return _device_rows(prices, segment, layout)
    duration_s = float(prices.duration_s[segment])
    rows = layout.device_rows.get(duration_s)
    if rows is None:
        if len(layout.device_rows) >= DEVICE_ROWS_MAX:
            layout.device_rows.clear()
        rows = layout.device_rows[duration_s] = _device_rows(prices, segment, layout)
    return rows


def _device_rows(prices: PriceList, segment: int, layout: Layout, hole: Truths | None = None) -> DeviceRows:
    compute_s, lead_s = prices.compute_s[segment, layout.index], prices.lead_s[segment, layout.index]
    known = compute_s, lead_s
    if hole is not None:
        compute_s = np.where(hole, 0.0, compute_s)
    lead_s = np.where(compute_s > 0, lead_s, -np.inf)
    gained_s = np.empty((2, 1, 1, len(layout.twice)))
    gained_s[0], gained_s[1] = prices.duration_s[segment], compute_s[layout.twice]
    gained_s[1] += _FAR_S
    return DeviceRows(known=known, gained_s=gained_s, lead_s=lead_s[None], lead_max_s=float(lead_s.max()))


def _tabulated(table: ValueTable, segment: int) -> TabulatedValues:
    values = table.values[segment - table.first]
    return TabulatedValues(rows=values.reshape(-1, values[0, 0, 0].size))


@lru_cache(maxsize=64)
def _axis(buffers: bytes) -> tuple[Floats, Floats]:
    """The axis of buffers and, far behind, backlogs; and the numbers of its nodes."""
    buffers_s = np.frombuffer(buffers)
    ends = _steps(buffers_s)
    axis_s = np.concatenate([buffers_s, [_FAR_S / 2], _FAR_S + BACKLOGS_S])
    return axis_s, np.concatenate([ends, ends[-1:], _steps(BACKLOGS_S)])


def _steps(grid: Floats) -> Floats:
    """The nodes' numbers, for positions on a grid; a point on the last one counts as just before it."""
    steps = np.arange(float(len(grid)))
    steps[-1] = np.nextafter(steps[-1], 0.0)
    return steps


def stack_tables(tables: Sequence[OptionTable]) -> OptionTable:
    """One table for M sessions that each have one of their own, all of one shape.

    `options`, `owned_options` and `levels` are those of the first one. Where tables have fewer rows than others, the
    last ones come several times: the columns of a session's own options are the first of its row.
    """
    first = tables[0]
    if all(table is first for table in tables):
        return first
    if any(table.owned != first.owned or len(table.options) != len(first.options) for table in tables):
        owned = max(table.owned for table in tables)
        count = owned + max(len(table.options) - table.owned for table in tables)
        tables = [_with_rows(table, owned, count) for table in tables]
        first = tables[0]
    holes = [np.zeros(first.vmaf.shape, np.bool_) if table.holes is None else table.holes for table in tables]
    stacked = msgspec.structs.replace(
        first,
        vmaf=np.concatenate([table.vmaf for table in tables]),
        size_bytes=np.concatenate([table.size_bytes for table in tables]),
        gained_s=np.concatenate([table.gained_s for table in tables], axis=1),
        lead_s=np.concatenate([table.lead_s for table in tables]),
        lead_max_s=max([table.lead_max_s for table in tables]),
        holes=None if all(table.holes is None for table in tables) else np.concatenate(holes),
        values=tuple(tuple(one for (one,) in several) for several in zip(*[t.values for t in tables], strict=True)),
    )
    if all(table.plain is first.plain for table in tables):  # of one title and device, lacking the same weights
        return stacked
    return msgspec.structs.replace(
        stacked,
        sorting=None if first.sorting is None else np.array([table.sorting for table in tables]),
        fetch_bytes=np.array([table.fetch_bytes for table in tables])[:, None, None],
        plain=np.array([table.plain for table in tables]),
        first=np.array([table.first for table in tables])[:, None],
    )


def _with_rows(table: OptionTable, owned: int, count: int) -> OptionTable:
    """The same table with so many rows, the first so many of them owned."""
    if (table.owned, table.vmaf.shape[1]) == (owned, count):
        return table
    once, twice, moved, columns = _repeats(table.owned, table.vmaf.shape[1], owned, count)
    return msgspec.structs.replace(
        table,
        owned=owned,
        sorting=moved[columns if table.sorting is None else table.sorting[columns]] if owned else None,
        vmaf=table.vmaf.take(once, axis=1),
        size_bytes=table.size_bytes.take(twice, axis=2),
        gained_s=table.gained_s.take(twice, axis=3),
        lead_s=table.lead_s.take(once, axis=1),
        plain=moved[table.plain[once]],
        holes=None if table.holes is None else table.holes.take(once, axis=1),
        first=table.first[twice],
    )


@lru_cache(maxsize=1024)
def _repeats(owned: int, count: int, owned_max: int, count_max: int) -> tuple[Indices, Indices, Indices, Indices]:
    """For a table of `count` rows that gets more: which of its rows stands in each, once and with the owned ones again.

    Also where each of its rows has gone, and which of its options stands in each column of the answer.
    """
    lacking = np.minimum(owned + np.arange(count_max - owned_max), count - 1)
    used = np.minimum(np.arange(owned_max), max(owned - 1, 0))
    once = np.concatenate([used, lacking])
    twice = np.concatenate([once, count + used])
    moved = np.arange(count) + np.where(np.arange(count) < owned, 0, owned_max - owned)
    return once, twice, moved, np.minimum(np.arange(count_max), count - 1)

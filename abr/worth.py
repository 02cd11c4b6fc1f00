"""What each option is worth to a viewer: its quality now, and the value of the state that it leads to.

A `Stage` is all of that which does not depend on the viewer, made once for a segment and for those who lack the same
weights. `worth` then takes some thirty operations on small arrays, and looks into eight rows of a plan.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
import numpy as np

from abr.crowd import Indices
from abr.forecast import OUTAGES_S, PULL, Belief, Beliefs, nodes, nodes_of
from abr.options import Floats, PriceList, Truths, told
from abr.planning import (
    BACKLOGS_S,
    HOLE_VMAF,
    MEANS,
    SPREADS,
    Candidates,
    Plan,
    Singles,
    candidates,
    corners,
    plan_of,
    plannable,
)
from abr.qoe import STALL_PER_S

STAGES_MAX = 256
"""Stages kept with a plan: its segments, times the kinds of viewers by the weights that they lack."""

_MEANS, _SPREADS = tuple(MEANS.tolist()), tuple(SPREADS.tolist())
_DEEP = len(BACKLOGS_S)
_NEIGHBOURS = np.array([0, 1, _DEEP, _DEEP + 1])[:, None, None, None]
"""From a node of the grid (buffer, backlog) to the others around a point."""


def _steps(grid: Floats) -> Floats:
    """The nodes' numbers, for positions on a grid; a point on the last one counts as just before it."""
    steps = np.arange(float(len(grid)))
    steps[-1] = np.nextafter(steps[-1], 0.0)
    return steps


_FAR_S = float(1 << 21)
"""Backlogs lie on one axis with the buffers, this far behind zero, so that one interpolation serves both: farther than
any buffer, and near enough for a nanosecond."""


class Stage(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What viewers may choose from at one segment: P options worth planning for, V ≥ P rows. Each array begins with an
    axis of 1, or, of a stage that M viewers at different segments share (`shared`), of M.

    The first `owned` rows are options whose weights are there, then, up to P, those that lack some. Behind them the
    first ones come again, for the viewer who uses them now and fetches all that is lacking right after.

    options: P of the list, ascending. sorting: (P,) rows in the order of the list; None when they are in it.
    kind: equal for stages of the same title, device and weights. vmaf: (1, P). size_bytes: (1, 1, V).
    added_s: (2, 1, 1, V) to the buffer, and to the backlog far out on the axis of both. axis_s, steps: that axis, and
    the numbers of its nodes. fetch_bytes: of all weights lacking, for the rows that come again. lead_s: (1, P), -inf
    for plain options, which are never late; lead_most_s: of them all. plain: (P,) the row of the cheapest option of the
    same rendition. hole: (1, P) what this segment does not have; None when it has all. tables: values by (state of the
    network, all the rest), of all options and of those owned; of each one, or one for each viewer. first: (V,) where a
    row's values begin among those of both tables, as numbers to be added to others.
    """

    kind: tuple[object, ...]
    options: tuple[int, ...]
    owned: int
    sorting: Indices | None
    vmaf: Floats
    size_bytes: Floats
    fetch_bytes: float
    added_s: Floats
    lead_s: Floats
    plain: Indices
    hole: Truths | None
    lead_most_s: float
    levels: tuple[float, ...]
    axis_s: Floats
    steps: Floats
    tables: tuple[tuple[Singles, ...], ...]
    first: Floats
    light: tuple[int, ...]
    """The options that the second plan is for; empty when there is none."""


def stage_of(prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> Stage:
    """The stage for viewers who lack these bytes of weights, (O,), of each option; remembered with the plan."""
    known = candidates(prices)
    plan = plan_of(prices, known.options, segment, buffer_max_s)
    key = segment, weights_bytes.tobytes()
    stage = plan.stages.get(key)
    if stage is None:
        if len(plan.stages) >= STAGES_MAX:
            plan.stages.clear()
        kind = known.options, plan.levels.tobytes(), buffer_max_s, key[1]
        light = (*plannable(prices, weights_bytes), ())[1]
        lacking = weights_bytes[known.index]
        stage = plan.stages[key] = _made(prices, known, plan, segment, lacking, light, buffer_max_s, kind)
    elif stage.light:
        plan_of(prices, stage.light, segment, buffer_max_s)  # in use: not the first to be forgotten
    return stage


def _made(
    prices: PriceList,
    known: Candidates,
    plan: Plan,
    segment: int,
    weights_bytes: Floats,
    light: tuple[int, ...],
    buffer_max_s: float,
    kind: tuple[object, ...],
) -> Stage:
    lacking = weights_bytes > 0
    count = len(lacking)
    owned = len(light)
    rows = np.argsort(lacking, kind="stable") if owned else np.arange(count)
    again = np.concatenate([rows, rows[:owned]])
    place = np.argsort(rows)
    index = known.index[rows]
    size, vmaf = prices.size_bytes[segment, index], prices.vmaf[segment, index]
    compute_s, lead_s = prices.compute_s[segment, index], prices.lead_s[segment, index]
    hole = ~told(size, vmaf, compute_s, lead_s)
    size = np.where(hole, 0.0, size + weights_bytes[rows])
    lead_s = np.where((compute_s > 0) & ~hole, lead_s, -np.inf)
    wide = len(plan.buffers_s) * _DEEP
    first, tables = again * wide, [(_rows(plan, segment),)]
    if owned:
        tables.append((_rows(plan_of(prices, light, segment, buffer_max_s), segment),))
        first[:owned] = (count + np.arange(owned)) * wide
    twice = np.concatenate([np.arange(count), np.arange(owned)])
    far_s = np.where(hole, 0.0, compute_s)[twice] + _FAR_S
    ends = _steps(plan.buffers_s)
    return Stage(
        kind=kind,
        options=known.options,
        owned=owned,
        sorting=place if owned else None,
        vmaf=np.where(hole, HOLE_VMAF, vmaf)[None],
        size_bytes=size[None, None, twice],
        fetch_bytes=float(weights_bytes.max()),
        added_s=np.stack([np.full_like(far_s, prices.duration_s[segment]), far_s])[:, None, None],
        lead_s=lead_s[None],
        plain=place[known.plain[rows]],
        hole=hole[None] if hole.any() else None,
        lead_most_s=float(lead_s.max()),
        levels=tuple(plan.levels.tolist()),
        axis_s=np.concatenate([plan.buffers_s, [_FAR_S / 2], _FAR_S + BACKLOGS_S]),
        steps=np.concatenate([ends, ends[-1:], _steps(BACKLOGS_S)]),
        tables=tuple(tables),
        first=first.astype(np.float64),
        light=light,
    )


def _rows(plan: Plan, segment: int) -> Singles:
    values = plan.values[segment - plan.first]
    rows: Singles = values.reshape(-1, values[0, 0, 0].size)
    return rows


def shared(stages: Sequence[Stage]) -> Stage:
    """One for viewers who are each at a stage of their own, all of one kind."""
    one = stages[0]
    if all(stage is one for stage in stages):
        return one
    holes = [np.zeros(one.vmaf.shape, np.bool_) if stage.hole is None else stage.hole for stage in stages]
    return msgspec.structs.replace(
        one,
        vmaf=np.concatenate([stage.vmaf for stage in stages]),
        size_bytes=np.concatenate([stage.size_bytes for stage in stages]),
        added_s=np.concatenate([stage.added_s for stage in stages], axis=1),
        lead_s=np.concatenate([stage.lead_s for stage in stages]),
        lead_most_s=max([stage.lead_most_s for stage in stages]),
        hole=None if all(stage.hole is None for stage in stages) else np.concatenate(holes),
        tables=tuple(tuple(table for (table,) in tables) for tables in zip(*[s.tables for s in stages], strict=True)),
    )


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. vmaf_before: the quality last shown; None when it is not known."""

    belief: Belief
    latency_s: float
    buffer_s: float
    backlog_s: float
    vmaf_before: float | None


class Viewers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """M of them before a stage, who may each have N outcomes of a download.

    second_per_byte, extra_s: (M, N, 1) how long a download takes. chances: (M, N, 1). rows, shares: (M, 8) and
    (M, 1, 8) where the network's state lies in a plan. held_s: (2, M, 1, 1) buffer and backlog. vmaf_before: (M, 1) the
    quality last shown; None when of nobody it is known. shortfall_s: how much longer than the buffer the backlog is, at
    most.
    """

    second_per_byte: Floats
    extra_s: Floats
    chances: Floats
    rows: Indices
    shares: Singles
    held_s: Floats
    vmaf_before: Floats | None
    shortfall_s: float


def gathered(stage: Stage, several: Sequence[Viewer]) -> Viewers:
    """Of few: in plain numbers until the end, which is several times as quick as in arrays. Of all or of none the
    quality last shown is known."""
    numbers, rows, shares = [], [], []
    for one in several:
        belief, spread = one.belief, math.exp(one.belief.spread)
        strayed, chances = nodes_of(spread)
        numbers += [8 * math.exp(-belief.level - z) for z in strayed]
        numbers += [one.latency_s + outage_s for outage_s in OUTAGES_S]
        numbers += chances
        numbers += (one.buffer_s, one.backlog_s, 0.0 if one.vmaf_before is None else one.vmaf_before)
        at, share = _corners(stage.levels, spread, belief.level + PULL * (belief.mean - belief.level), belief.mean)
        rows.append(at)
        shares.append(share)
    table, count = np.array(numbers).reshape(len(several), -1), len(OUTAGES_S)
    return Viewers(
        second_per_byte=table[:, :count, None],
        extra_s=table[:, count : 2 * count, None],
        chances=table[:, 2 * count : 3 * count, None],
        rows=np.array(rows),
        shares=np.array(shares, np.float32)[:, None],
        held_s=table[:, -3:-1].T[..., None, None],
        vmaf_before=None if several[0].vmaf_before is None else table[:, -1:],
        shortfall_s=max([one.backlog_s - one.buffer_s for one in several]),
    )


def viewers(
    stage: Stage, beliefs: Beliefs, *, latency_s: Floats, buffer_s: Floats, backlog_s: Floats, vmaf_before: Floats
) -> Viewers:
    """Of many: all (M,)."""
    spread = np.exp(beliefs.spread)
    strayed, outages_s, chances = nodes(spread)
    level = beliefs.level + PULL * (beliefs.mean - beliefs.level)
    rows, shares = corners((spread, level, beliefs.mean), (SPREADS, np.array(stage.levels), MEANS))
    return Viewers(
        second_per_byte=8 * np.exp(-beliefs.level[:, None] - strayed)[..., None],
        extra_s=latency_s[:, None, None] + outages_s[:, None],
        chances=chances[..., None],
        rows=rows,
        shares=shares.astype(np.float32)[:, None],
        held_s=np.stack([buffer_s, backlog_s])[:, :, None, None],
        vmaf_before=vmaf_before[:, None],
        shortfall_s=float((backlog_s - buffer_s).max()),
    )


def _corners(levels: tuple[float, ...], spread: float, level: float, mean: float) -> tuple[list[int], list[float]]:
    """`abr.planning.corners` of one point."""
    at, spread_share = _between(_SPREADS, spread)
    below, level_share = _between(levels, level)
    node, mean_share = _between(_MEANS, mean)
    low = (at * len(levels) + below) * len(_MEANS) + node
    up, across = len(_MEANS), len(levels) * len(_MEANS)
    rows = [low, low + across, low + up, low + up + across]
    calm, rough = (1 - level_share) * (1 - spread_share), (1 - level_share) * spread_share
    calm_up, rough_up = level_share * (1 - spread_share), level_share * spread_share
    shares = [calm, rough, calm_up, rough_up]
    return (
        rows + [row + 1 for row in rows],
        [share * (1 - mean_share) for share in shares] + [share * mean_share for share in shares],
    )


def _between(grid: tuple[float, ...], value: float) -> tuple[int, float]:
    """`abr.planning.position` of one value."""
    below = min(max(bisect_right(grid, value) - 1, 0), len(grid) - 2)
    return below, min(max((value - grid[below]) / (grid[below + 1] - grid[below]), 0.0), 1.0)


def worth(stage: Stage, seen: Viewers) -> Floats:
    """(M, P): the QoE to be expected from each option until the end; -inf for what cannot be."""
    count, owned = len(stage.options), stage.owned
    taken_s = stage.size_bytes * seen.second_per_byte
    taken_s += seen.extra_s
    left_s = seen.held_s - taken_s
    kept_s = np.maximum(left_s, 0.0)
    after_s = kept_s + stage.added_s
    if owned:
        after_s[0, ..., count:] -= stage.fetch_bytes * seen.second_per_byte
    future = _future(stage, seen, after_s)
    if owned:
        waiting = np.minimum(after_s[0, ..., count:], 0.0)
        waiting *= STALL_PER_S
        waiting += future[..., count:]
        future, left_s, kept_s = future[..., :count], left_s[..., :count], kept_s[..., :count]
        now = future[..., :owned]
        np.maximum(now, waiting, out=now)
    if seen.shortfall_s > 0 or stage.lead_most_s > 0:  # else nothing can be late
        late = kept_s[1] + stage.lead_s[:, None] > kept_s[0]
        lost = stage.vmaf - stage.vmaf[:, stage.plain]
        future = np.where(late, future[..., stage.plain] - lost[:, None], future)
    stalls = np.minimum(left_s[0], 0.0)
    stalls *= STALL_PER_S
    future += stalls
    values: Floats = np.matmul(future.swapaxes(1, 2).copy(), seen.chances)[..., 0]
    values += stage.vmaf
    if seen.vmaf_before is not None:
        values -= np.abs(stage.vmaf - seen.vmaf_before)
    if seen.shortfall_s + stage.lead_most_s > 0:
        buffer_s, backlog_s = seen.held_s[..., 0]
        values[backlog_s + stage.lead_s > buffer_s] = -np.inf
    if stage.hole is not None:
        np.copyto(values, -np.inf, where=stage.hole)
    return values if stage.sorting is None else values.take(stage.sorting, axis=-1)


def _future(stage: Stage, seen: Viewers, after_s: Floats) -> Floats:
    """(M, N, V) values of what each row leads to, by linear interpolation."""
    values = [np.matmul(seen.shares, _rows_of(tables, seen.rows)) for tables in stage.tables]
    known = values[0] if len(values) == 1 else np.concatenate(values, axis=-1)
    along = np.interp(after_s, stage.axis_s, stage.steps)
    below = np.floor(along)
    along -= below
    node = below[0] * _DEEP
    node += below[1]
    node += stage.first
    if len(known) > 1:
        node += np.arange(0.0, known.size, known.shape[-1])[:, None, None]
    corner = known.ravel().take(node.astype(np.intp) + _NEIGHBOURS)
    corner[1::2] -= corner[::2]
    shallow, steps = corner[::2], corner[1::2].astype(np.float64)
    steps *= along[1]
    steps += shallow
    high: Floats
    low, high = steps
    high -= low
    high *= along[0]
    high += low
    return high


def _rows_of(tables: tuple[Singles, ...], rows: Indices) -> Singles:
    """(M, 8, …) of one table, or of each viewer's own."""
    if len(tables) == 1:
        return tables[0].take(rows, axis=0)
    found = np.empty((*rows.shape, tables[0].shape[1]), np.float32)
    for table, row, into in zip(tables, rows, found, strict=True):
        table.take(row, axis=0, out=into, mode="clip")
    return found

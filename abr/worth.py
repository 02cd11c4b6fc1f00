"""What each option is worth to a viewer: its quality now, and the value of the state that it leads to.

A `Stage` is all of that which does not depend on the viewer, made once for a segment and for those who lack the same
weights. `worth` then takes some forty operations on small arrays, and looks into eight rows of a plan.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from abr.crowd import Indices
from abr.forecast import OUTAGES_S, PULL, Belief, Beliefs, nodes, nodes_of
from abr.options import Floats, PriceList
from abr.planning import BACKLOGS_S, MEANS, SPREADS, Candidates, Plan, Singles, candidates, corners, plan_of
from abr.qoe import STALL_PER_S

Truths = npt.NDArray[np.bool_]

STAGES_MAX = 256
"""Stages kept with a plan: its segments, times the kinds of viewers by the weights that they lack."""

_MEANS, _SPREADS = tuple(MEANS.tolist()), tuple(SPREADS.tolist())
_DEEP = len(BACKLOGS_S)
_NEIGHBOURS = np.array([0, 1, _DEEP, _DEEP + 1])
"""From a node of the grid (buffer, backlog) to the others around a point."""


def _steps(grid: Floats) -> Floats:
    """The nodes' numbers, for positions on a grid; a point on the last one counts as just before it."""
    steps = np.arange(float(len(grid)))
    steps[-1] = np.nextafter(steps[-1], 0.0)
    return steps


_BACKLOG_STEPS = _steps(BACKLOGS_S)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """What viewers may choose from at one segment: P options worth planning for, V ≥ P rows.

    The first `owned` rows are options whose weights are there, then, up to P, those that lack some. Behind them the
    first ones come again, for the viewer who uses them now and fetches all that is lacking right after.

    options: P of the list, ascending. sorting: (P,) rows in the order of the list; None when they are in it.
    vmaf: (P,). size_bytes, compute_s: (V, 1). fetch_bytes: of all weights lacking, for the rows that come again.
    lead_s: (P, 1), -inf for plain options, which are never late; lead_most_s: of them all. plain: (P,) the row of the
    cheapest option of the same rendition. hole: (P,) what this segment does not have; None when it has all.
    tables: values by (state of the network, all the rest), of all options and of those owned. first: (V, 1) where a
    row's values begin among those of both tables.
    """

    options: tuple[int, ...]
    owned: int
    sorting: Indices | None
    duration_s: float
    vmaf: Floats
    size_bytes: Floats
    fetch_bytes: float
    compute_s: Floats
    lead_s: Floats
    plain: Indices
    hole: Truths | None
    lead_most_s: float
    levels: tuple[float, ...]
    buffers_s: Floats
    buffer_steps: Floats
    tables: tuple[Singles, ...]
    first: Indices
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
        stage = plan.stages[key] = _made(prices, known, plan, segment, weights_bytes[known.index], buffer_max_s)
    elif stage.light:
        plan_of(prices, stage.light, segment, buffer_max_s)  # in use: not the first to be forgotten
    return stage


def _made(
    prices: PriceList, known: Candidates, plan: Plan, segment: int, weights_bytes: Floats, buffer_max_s: float
) -> Stage:
    lacking = weights_bytes > 0
    count = len(lacking)
    owned = int(count - lacking.sum()) if lacking.any() and not lacking.all() else 0
    rows = np.argsort(lacking, kind="stable") if owned else np.arange(count)
    again = np.concatenate([rows, rows[:owned]])
    place = np.argsort(rows)
    index = known.index[rows]
    size, vmaf = prices.size_bytes[segment, index], prices.vmaf[segment, index]
    compute_s, lead_s = prices.compute_s[segment, index], prices.lead_s[segment, index]
    hole = ~(np.isfinite(size) & np.isfinite(vmaf) & np.isfinite(compute_s) & np.isfinite(lead_s))
    size = np.where(hole, 0.0, size + weights_bytes[rows])
    lead_s = np.where(compute_s > 0, lead_s, -np.inf)
    wide = len(plan.buffers_s) * _DEEP
    first, tables, light = again * wide, [_rows(plan, segment)], ()
    if owned:
        light = tuple(known.index[rows[:owned]].tolist())
        tables.append(_rows(plan_of(prices, light, segment, buffer_max_s), segment))
        first[:owned] = (count + np.arange(owned)) * wide
    twice = np.concatenate([np.arange(count), np.arange(owned)])
    return Stage(
        options=known.options,
        owned=owned,
        sorting=place if owned else None,
        duration_s=float(prices.duration_s[segment]),
        vmaf=vmaf,
        size_bytes=size[twice, None],
        fetch_bytes=float(weights_bytes.max()),
        compute_s=np.where(hole, 0.0, compute_s)[twice, None],
        lead_s=lead_s[:, None],
        plain=place[known.plain[rows]],
        hole=hole if hole.any() else None,
        lead_most_s=float(lead_s[~hole].max(initial=-np.inf)),
        levels=tuple(plan.levels.tolist()),
        buffers_s=plan.buffers_s,
        buffer_steps=_steps(plan.buffers_s),
        tables=tuple(tables),
        first=first[:, None],
        light=light,
    )


def _rows(plan: Plan, segment: int) -> Singles:
    values = plan.values[segment - plan.first]
    rows: Singles = values.reshape(-1, values[0, 0, 0].size)
    return rows


class Viewers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One viewer, or M of them in a further first axis, before one stage. N outcomes of a download.

    second_per_byte, extra_s: (N,) or (M, 1, N) how long a download takes. chances: (N, 1) or (M, N, 1).
    rows, shares: (8,) and (1, 8), or (M, 8) and (M, 1, 8): where the network's state lies in a plan.
    buffer_s, backlog_s: numbers or (M, 1, 1). vmaf_before: the quality last shown, (M, 1); None when it is not known.
    shortfall_s: how much longer than the buffer the backlog is, at most.
    """

    second_per_byte: Floats
    extra_s: Floats
    chances: Floats
    rows: Indices
    shares: Singles
    buffer_s: Floats | float
    backlog_s: Floats | float
    vmaf_before: Floats | float | None
    shortfall_s: float


def viewer(
    stage: Stage, belief: Belief, *, latency_s: float, buffer_s: float, backlog_s: float, vmaf_before: float | None
) -> Viewers:
    """One viewer: in plain numbers until the end, which is several times as quick as in arrays of one."""
    spread = math.exp(belief.spread)
    strayed, chances = nodes_of(spread)
    level = belief.level + PULL * (belief.mean - belief.level)
    rows, shares = _corners(stage.levels, spread, level, belief.mean)
    lasting = np.array(
        (
            [8 * math.exp(-belief.level - z) for z in strayed],
            [latency_s + outage_s for outage_s in OUTAGES_S],
            chances,
        )
    )
    return Viewers(
        second_per_byte=lasting[0],
        extra_s=lasting[1],
        chances=lasting[2][:, None],
        rows=np.array(rows),
        shares=np.array([shares], np.float32),
        buffer_s=buffer_s,
        backlog_s=backlog_s,
        vmaf_before=vmaf_before,
        shortfall_s=backlog_s - buffer_s,
    )


def viewers(
    stage: Stage, beliefs: Beliefs, *, latency_s: Floats, buffer_s: Floats, backlog_s: Floats, vmaf_before: Floats
) -> Viewers:
    """Many: all (M,)."""
    spread = np.exp(beliefs.spread)
    strayed, outages_s, chances = nodes(spread)
    level = beliefs.level + PULL * (beliefs.mean - beliefs.level)
    rows, shares = corners((spread, level, beliefs.mean), (SPREADS, np.array(stage.levels), MEANS))
    return Viewers(
        second_per_byte=8 * np.exp(-beliefs.level[:, None] - strayed)[:, None],
        extra_s=latency_s[:, None, None] + outages_s,
        chances=chances[:, :, None],
        rows=rows,
        shares=shares.astype(np.float32)[:, None],
        buffer_s=buffer_s[:, None, None],
        backlog_s=backlog_s[:, None, None],
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
    """(P,) or (M, P): the QoE to be expected from each option until the end; -inf for what cannot be."""
    count, owned = len(stage.vmaf), stage.owned
    taken_s = stage.size_bytes * seen.second_per_byte
    taken_s += seen.extra_s
    left_s = seen.buffer_s - taken_s
    played_s = np.maximum(left_s, 0.0)
    after_s = played_s + stage.duration_s
    queued_s = np.maximum(seen.backlog_s - taken_s, 0.0)
    if owned:
        after_s[..., count:, :] -= stage.fetch_bytes * seen.second_per_byte
    future = _future(stage, seen, after_s, queued_s + stage.compute_s)
    if owned:
        waiting = np.minimum(after_s[..., count:, :], 0.0)
        waiting *= STALL_PER_S
        waiting += future[..., count:, :]
        future, left_s = future[..., :count, :], left_s[..., :count, :]
        played_s, queued_s = played_s[..., :count, :], queued_s[..., :count, :]
        now = future[..., :owned, :]
        np.maximum(now, waiting, out=now)
    late = queued_s + stage.lead_s > played_s
    if late.any():
        plain = stage.plain
        future = np.where(late, future[..., plain, :] - (stage.vmaf - stage.vmaf[plain])[:, None], future)
    stalls = np.minimum(left_s, 0.0)
    stalls *= STALL_PER_S
    future += stalls
    values: Floats = np.matmul(future, seen.chances)[..., 0]
    values += stage.vmaf
    if seen.vmaf_before is not None:
        values -= np.abs(stage.vmaf - seen.vmaf_before)
    if seen.shortfall_s + stage.lead_most_s > 0:
        values[(seen.backlog_s + stage.lead_s > seen.buffer_s)[..., 0]] = -np.inf
    if stage.hole is not None:
        values[stage.hole | ~np.isfinite(values)] = -np.inf
    return values if stage.sorting is None else values.take(stage.sorting, axis=-1)


def _future(stage: Stage, seen: Viewers, buffer_s: Floats, backlog_s: Floats) -> Floats:
    """(…, V, N) values of what each row leads to, by linear interpolation."""
    values = [np.matmul(seen.shares, table.take(seen.rows, axis=0)) for table in stage.tables]
    known = values[0] if len(values) == 1 else np.concatenate(values, axis=-1)
    along = np.interp(buffer_s, stage.buffers_s, stage.buffer_steps)
    node = along.astype(np.intp)
    along -= node
    node *= _DEEP
    node += stage.first
    deep = np.interp(backlog_s, BACKLOGS_S, _BACKLOG_STEPS)
    below = deep.astype(np.intp)
    deep -= below
    node += below
    if node.ndim == 3:
        node += np.arange(0, known.size, known.shape[-1])[:, None, None]
    corner = known.ravel().take(np.add.outer(_NEIGHBOURS, node))
    shallow, steps = corner[::2], corner[1::2]
    steps -= shallow
    high: Floats
    low, high = steps * deep + shallow
    high -= low
    high *= along
    high += low
    return high

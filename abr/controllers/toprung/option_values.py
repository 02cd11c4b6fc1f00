"""What each option is worth to a session: its quality now, and the value of the state that it leads to.

An `OptionTable` holds all of that which does not depend on the session. `evaluate_options` then takes some thirty
operations on small arrays, and looks into eight rows of a value table.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from abr.controllers.toprung.compact_plans import SegmentValues, at_nodes_of_each
from abr.controllers.toprung.forecast import OUTAGES_S, Forecast, nodes
from abr.controllers.toprung.grids import corners
from abr.controllers.toprung.option_table import DEPTH, OptionTable
from abr.core.arrays import Floats, Indices, Number, Singles, namespace_of
from abr.core.qoe import STALL_PER_S

_OUTCOMES, _CORNERS = len(OUTAGES_S), 8
_NEIGHBOURS = np.array([0, 1, DEPTH, DEPTH + 1])[:, None, None, None]
"""From a node of the grid (buffer, backlog) to the others around a point."""


class PlayerState(msgspec.Struct, frozen=True, kw_only=True):
    """One session, or M of them in columns. vmaf_before: the quality last shown; None when it is not known."""

    forecast: Forecast
    latency_s: Number
    buffer_s: Number
    backlog_s: Number
    vmaf_before: Number | None

    def numbers(self, levels: tuple[float, ...]) -> list[Number]:
        """All that `PlayerStates` needs of it, in order; (M,) each for M sessions."""
        forecast, exp = self.forecast, namespace_of(self.buffer_s).exp
        level, latency_s = forecast.level, self.latency_s
        spread = exp(forecast.spread)
        innovations, chances = nodes(spread)
        rows, shares = corners(spread, forecast.next_level, forecast.mean, levels)
        before = 0.0 * self.buffer_s if self.vmaf_before is None else self.vmaf_before
        return [
            *[8 * exp(-level - z) for z in innovations],
            *[latency_s + outage_s for outage_s in OUTAGES_S],
            *chances,
            *rows,
            *shares,
            self.buffer_s,
            self.backlog_s,
            before,
        ]


class PlayerStates(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """M sessions, each with N outcomes of the next download.

    second_per_byte, extra_s: (M, N, 1) how long a download takes. chances: (M, N, 1). rows, shares: (M, 8) and
    (M, 1, 8) where the network's state lies in a value table. held_s: (2, M, 1, 1) buffer and backlog. vmaf_before:
    (M, 1) the quality last shown; None when of nobody it is known. shortfall_s: how much longer than the buffer the
    backlog is, at most.
    """

    second_per_byte: Floats
    extra_s: Floats
    chances: Floats
    rows: Indices
    shares: Singles
    held_s: Floats
    vmaf_before: Floats | None
    shortfall_s: float


def stack_states(states: Sequence[PlayerState], levels: Sequence[tuple[float, ...]]) -> PlayerStates:
    """Sessions one by one, or one state of M sessions in columns. Of all or of none `vmaf_before` is known.

    levels: the grid of throughput levels of each state. One by one all is computed in plain numbers until here, which
    is several times as quick for a few sessions.
    """
    listed: list[Number] = []
    for state, grid in zip(states, levels, strict=True):
        listed += state.numbers(grid)
    columns = np.array(listed)
    if columns.ndim == 2:
        numbers = np.ascontiguousarray(columns.T)
    else:
        numbers = columns.reshape(len(states), -1)
        columns = numbers.T
    rows = numbers[:, 3 * _OUTCOMES : 3 * _OUTCOMES + _CORNERS]
    shares = numbers[:, 3 * _OUTCOMES + _CORNERS : -3]
    return PlayerStates(
        second_per_byte=numbers[:, :_OUTCOMES, None],
        extra_s=numbers[:, _OUTCOMES : 2 * _OUTCOMES, None],
        chances=numbers[:, 2 * _OUTCOMES : 3 * _OUTCOMES, None],
        rows=rows.astype(np.intp),
        shares=shares.astype(np.float32)[:, None],
        held_s=columns[-3:-1, :, None, None],
        vmaf_before=None if states[0].vmaf_before is None else numbers[:, -1:],
        shortfall_s=max([_largest(state.backlog_s - state.buffer_s) for state in states]),
    )


def _largest(value: Number) -> float:
    return float(value.max()) if isinstance(value, np.ndarray) else value


def evaluate_options(table: OptionTable, states: PlayerStates) -> Floats:
    """(M, P): the QoE to be expected from each option until the end; -inf for what cannot be.

    Arrays are (M, N, V) along the way: sessions, outcomes of the download, rows of the table; those with a first axis
    of 2 hold the buffer and the backlog.
    """
    count, owned = table.vmaf.shape[1], table.owned
    taken_s = table.size_bytes * states.second_per_byte
    taken_s += states.extra_s
    left_s = states.held_s - taken_s
    kept_s = np.maximum(left_s, 0.0)
    after_s = kept_s + table.gained_s
    if owned:
        after_s[0, ..., count:] -= table.fetch_bytes * states.second_per_byte
    future = _future_values(table, states, after_s)
    if owned:  # the better of using an option now, and of fetching all lacking weights right after it
        waiting = np.minimum(after_s[0, ..., count:], 0.0)
        waiting *= STALL_PER_S
        waiting += future[..., count:]
        future, left_s, kept_s = future[..., :count], left_s[..., :count], kept_s[..., :count]
        now = future[..., :owned]
        np.maximum(now, waiting, out=now)
    if states.shortfall_s > 0 or table.lead_max_s > 0:  # else nothing can be late
        late = kept_s[1] + table.lead_s[:, None] > kept_s[0]
        lost_vmaf = (table.vmaf - _take(table.vmaf, table.plain))[:, None]
        future = np.where(late, _take(future, table.plain) - lost_vmaf, future)
    stalls = np.minimum(left_s[0], 0.0)
    stalls *= STALL_PER_S
    future += stalls
    values: Floats = np.matmul(future.swapaxes(1, 2).copy(), states.chances)[..., 0]
    values += table.vmaf
    if states.vmaf_before is not None:
        values -= np.abs(table.vmaf - states.vmaf_before)
    if states.shortfall_s + table.lead_max_s > 0:
        buffer_s, backlog_s = states.held_s[..., 0]
        values[backlog_s + table.lead_s > buffer_s] = -np.inf
    if table.holes is not None:
        np.copyto(values, -np.inf, where=table.holes)
    return values if table.sorting is None else _take(values, table.sorting)


def _take(values: Floats, places: Indices) -> Floats:
    """Along the last axis: at the same places, (P,), for all sessions, or at those of each, (M, P)."""
    if places.ndim == 1:
        return values.take(places, axis=-1)
    found: Floats = np.take_along_axis(values, places[:, None] if values.ndim == 3 else places, axis=-1)
    return found


def _future_values(table: OptionTable, states: PlayerStates, after_s: Floats) -> Floats:
    """(M, N, V) values of what each row leads to, by linear interpolation."""
    at_nodes, starts = _at_nodes(table.values, states)
    along = np.interp(after_s, table.axis_s, table.steps)
    below = np.floor(along)
    along -= below
    node = below[0] * DEPTH
    node += below[1]
    node += table.first
    if len(starts) > 1:
        node += starts[:, None, None]
    corner = at_nodes.take(node.astype(np.intp) + _NEIGHBOURS)
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


def _at_nodes(values: tuple[tuple[SegmentValues, ...], ...], states: PlayerStates) -> tuple[Singles, Floats]:
    """Values between the states of the network, of all sessions one after the other; and where each begins, (M,).

    values: of all options and of those owned, one for all sessions or one for each.
    """
    if len(values[0]) == 1:
        found = [each.at_nodes(states.rows, states.shares) for (each,) in values]
        rows = found[0] if len(found) == 1 else np.concatenate(found, axis=-1)
        return rows.ravel(), np.arange(0.0, rows.size, rows.shape[-1])
    several = zip(*(at_nodes_of_each(each, states.rows, states.shares) for each in values), strict=True)
    ends = np.zeros(len(states.rows) + 1)
    listed: list[Singles] = []
    for session, of_session in enumerate(several):
        listed += of_session
        ends[session + 1] = ends[session] + sum(map(len, of_session))
    return np.concatenate(listed), ends[:-1]

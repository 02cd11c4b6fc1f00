"""Plans small enough to keep for thousands of titles and devices: value tables as products of small arrays.

A value table is, but for what no decision depends on, nearly a sum of few products of three factors: one of the
segment, one of the network's state, one of quality, buffer and backlog. The factors are those of a truncated
higher-order singular value decomposition, one axis after the other (Vannieuwenhoven et al., SIAM J. Sci. Comput.
2012). Ranks are as large as it takes to keep the QoE (docs/BENCHMARKS.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from abr.controllers.toprung.backward_induction import ValueTable
from abr.core.arrays import Floats, Indices, Singles

NETWORK_RANK, AFTER_RANK, TIME_RANK, MEAN_RANK = 24, 64, 8, 3
"""Products kept on each axis; of the means, which only tell what a session is worth, fewer are enough."""


class CompactPlan(msgspec.Struct, frozen=True, kw_only=True, eq=False, weakref=True):
    """Values for the segments [first, first + W) of a title, after a picture of one of Q qualities has been shown.

    Grids as in ValueTable; N states of the network (spreads · levels · means), A states of the viewer (qualities ·
    buffers · backlogs). network: (N, R + K): the last K columns and mean_times, (W, K), give the mean over all states
    of the viewer. after: (X + 1, A), the last row ones. core: (T, R · X). times: (W, T). All float32.
    """

    first: int
    levels: Floats
    qualities: Floats
    buffers_s: Floats
    network: Singles
    after: Singles
    core: Singles
    times: Singles
    mean_times: Singles

    @property
    def arrays(self) -> tuple[Singles, ...]:
        """Those that hold the values."""
        return self.network, self.after, self.core, self.times, self.mean_times

    @property
    def memory_bytes(self) -> int:
        """About what it takes."""
        return sum(array.nbytes for array in self.arrays) + 2048

    def at(self, segment: int, hat: Singles) -> FactoredValues:
        """Values once `segment` was shown. hat: (P, Q) shares of the qualities in that of each of P options."""
        row, after_rank = segment - self.first, len(self.after) - 1
        mean_rank = self.mean_times.shape[1]
        core = np.zeros((1, self.network.shape[1], after_rank + 1), np.float32)
        core[0, :-mean_rank, :-1] = (self.times[row] @ self.core).reshape(-1, after_rank)
        core[0, -mean_rank:, -1] = self.mean_times[row]
        return FactoredValues(network=self.network, core=core, after=self.after, hat=hat[None])


class FactoredValues(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Values of P options at one segment, from a CompactPlan. core: (1, R + K, X + 1). hat: (1, P, Q)."""

    network: Singles
    core: Singles
    after: Singles
    hat: Singles

    def at_nodes(self, rows: Indices, shares: Singles) -> Singles:
        """(M, 1, P · buffers · backlogs) for M sessions between 8 states of the network each, (M, 8) and (M, 1, 8)."""
        return self._at_nodes(rows, shares, self.core, self.hat)

    def _at_nodes(self, rows: Indices, shares: Singles, core: Singles, hat: Singles) -> Singles:
        """core, hat: one for all sessions, or one for each."""
        sessions = len(rows)
        states = np.matmul(shares, self.network.take(rows, axis=0))
        found = (np.matmul(states, core).reshape(sessions, -1) @ self.after).reshape(sessions, hat.shape[2], -1)
        of_options: Singles = np.matmul(hat, found)
        return of_options.reshape(sessions, 1, -1)

    def is_like(self, other: FactoredValues) -> bool:
        """Whether both are of one plan, and of as many options."""
        return self.network is other.network and self.hat.shape == other.hat.shape

    def at_nodes_of_each(self, values: Sequence[FactoredValues], rows: Indices, shares: Singles) -> Singles:
        """The same for M sessions at segments of their own, whose `values` are like these."""
        core, hat = (np.concatenate(each) for each in zip(*((one.core, one.hat) for one in values), strict=True))
        return self._at_nodes(rows, shares, core, hat)


class TabulatedValues(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The same from a value table as it was computed. rows: (N, P · buffers · backlogs)."""

    rows: Singles

    def at_nodes(self, rows: Indices, shares: Singles) -> Singles:
        """See FactoredValues."""
        found: Singles = np.matmul(shares, self.rows.take(rows, axis=0))
        return found


SegmentValues = FactoredValues | TabulatedValues


def at_nodes_of_each(values: Sequence[SegmentValues], rows: Indices, shares: Singles) -> list[Singles]:
    """`at_nodes` of M sessions that each have values of their own, one array a session."""
    first = values[0]
    if isinstance(first, FactoredValues):
        alike = [one for one in values if isinstance(one, FactoredValues) and one.is_like(first)]
        if len(alike) == len(values):
            return list(first.at_nodes_of_each(alike, rows, shares)[:, 0])
    return [one.at_nodes(rows[i : i + 1], shares[i : i + 1]).ravel() for i, one in enumerate(values)]


def compress(table: ValueTable, window: range) -> CompactPlan:
    """The compact form of some segments of a table of qualities."""
    assert table.qualities is not None
    values = table.values[window.start - table.first : window.stop - table.first]
    values = values.reshape(len(values), int(np.prod(values.shape[1:4])), -1)
    mean = values.mean(axis=2)
    centred = values - mean[..., None]
    network = _leading(centred.swapaxes(0, 1), NETWORK_RANK)
    reduced = np.matmul(network.T, centred)
    after = _leading(reduced.transpose(2, 0, 1), AFTER_RANK)
    reduced = reduced @ after
    times = _leading(reduced, TIME_RANK)
    means = _leading(mean.T, MEAN_RANK)
    return CompactPlan(
        first=window.start,
        levels=table.levels,
        qualities=table.qualities,
        buffers_s=table.buffers_s,
        network=np.concatenate([network, means], axis=1),
        after=np.concatenate([after.T, np.ones((1, len(after)), np.float32)]),
        core=times.T @ reduced.reshape(len(times), -1),
        times=times,
        mean_times=mean @ means,
    )


def _leading(values: Singles, rank: int) -> Singles:
    """(n, rank) orthonormal vectors that hold most of the values (n, …) on their first axis."""
    flat = values.reshape(len(values), -1)
    _, vectors = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1][:, :rank], dtype=np.float32)

"""Values of future states: stochastic dynamic programming over the segments to come, backwards from the last.

A state is (option shown last, throughput level, download buffer, enhancement backlog), for several spreads and
session means of the throughput (see abr.controllers.toprung.forecast). Its value is the QoE, in VMAF points summed
over segments, that the best choices from there on may expect. What was shown counts by its quality alone. So a table
may have qualities in place of options, and then serves devices with other options too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.controllers.toprung.candidates import plain_rows
from abr.controllers.toprung.forecast import OUTAGES_S, PULL, nodes
from abr.controllers.toprung.grids import BACKLOGS_S, BUFFERS_S, MEANS, SPREADS, position, throughput_levels
from abr.core.arrays import Floats, Indices, Singles
from abr.core.options import PriceList
from abr.core.qoe import STALL_PER_S

BEYOND = 24
"""Segments looked at past a window, so that its end is no end."""
LATENCY_S = 0.06
"""What each request is taken to cost in time."""
_OUTAGES_S: Floats = np.array(OUTAGES_S)


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class ValueTable:
    """Values for the segments [first, first + len(values)) of a title.

    values: (segments, spreads, levels, means, O, buffers, backlogs) float32: the QoE to be had after option o has been
    shown at that segment; or (…, Q, …), after a picture of that quality. All axes but segments and options interpolate
    linearly. Grids: levels ln(bit/s); qualities in VMAF, None when the axis is options; buffers and backlogs in seconds
    just after the download.
    """

    first: int
    levels: Floats
    qualities: Floats | None
    buffers_s: Floats
    values: Singles


def compute_values(
    prices: PriceList, window: range, buffer_max_s: float, qualities: Floats | None = None
) -> ValueTable:
    """Values for a window of segments of a title whose tables have no holes (`value_tables.fill_holes`).

    After each of its options has been shown, or after each of these qualities.
    """
    end = min(window.stop + BEYOND, len(prices.duration_s))
    if len(prices.duration_s) - end < BEYOND // 2:
        end = len(prices.duration_s)
    kept = min(len(window), end - window.start)
    induction = _BackwardInduction(prices, buffer_max_s, qualities)
    values = np.zeros((kept, *induction.shape), np.float32)
    after = induction.zeros()
    for segment in range(end - 1, window.start - 1, -1):
        if segment < end - 1:
            after = induction.step_back(segment, after)
        if segment - window.start < kept:
            values[segment - window.start] = after.transpose(1, 2, 4, 0, 5, 3)
    return ValueTable(
        first=window.start,
        levels=induction.levels,
        qualities=qualities,
        buffers_s=induction.buffers_s,
        values=values,
    )


class _BackwardInduction:
    """One step back in time. Arrays are ordered (O or Q, spreads, levels, backlogs, means, buffers)."""

    def __init__(self, prices: PriceList, buffer_max_s: float, qualities: Floats | None) -> None:
        self._prices, self._buffer_max_s = prices, buffer_max_s
        most_s = max(buffer_max_s, float(prices.duration_s.max()))
        self.buffers_s = np.array([*(s for s in BUFFERS_S if s < most_s), most_s])
        self.levels = throughput_levels(prices)
        self._qualities = qualities
        self._plain = plain_rows(prices, range(len(prices.choices)))
        self._first_of, self._rendition_of = np.unique(self._plain, return_inverse=True)
        innovations, chances = (np.stack(columns, axis=-1) for columns in nodes(SPREADS))
        self._bps = np.exp(self.levels[None, :, None] + innovations[:, None, :])
        self._chances = chances.astype(np.float32)[:, None, :, None]
        self._drift = [_interpolation(self.levels + PULL * (mean - self.levels), self.levels) for mean in MEANS]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one segment in a ValueTable: (spreads, levels, means, O or Q, buffers, backlogs)."""
        return len(SPREADS), len(self.levels), len(MEANS), self._shown, len(self.buffers_s), len(BACKLOGS_S)

    @property
    def _shown(self) -> int:
        return len(self._plain) if self._qualities is None else len(self._qualities)

    def zeros(self) -> Singles:
        """Values once the last segment has been shown."""
        sizes = (self._shown, len(SPREADS), len(self.levels), len(BACKLOGS_S), len(MEANS), len(self.buffers_s))
        return np.zeros(sizes, np.float32)

    def step_back(self, segment: int, after: Singles) -> Singles:
        """Values once each option, or quality, has been shown at `segment`, from those after the next segment."""
        shown_vmaf, segment = self._prices.quality[segment] if self._qualities is None else self._qualities, segment + 1
        prices, duration_s = self._prices, float(self._prices.duration_s[segment])
        sizes = prices.size_bytes[segment, self._first_of][:, None, None, None]
        taken_s = (LATENCY_S + _OUTAGES_S + sizes * 8 / self._bps).astype(np.float32)
        start_s = np.minimum(self.buffers_s, max(self._buffer_max_s - duration_s, 0.0)).astype(np.float32)
        left_s = start_s - taken_s[..., None]
        played_s = np.maximum(left_s, 0.0)
        chances = self._chances
        arrive = self._expect(hat_weights(played_s + duration_s, self.buffers_s))
        stalls = (np.minimum(left_s, 0.0) * chances).sum(axis=3) * np.float32(STALL_PER_S)
        compute_s, rendition_of = prices.compute_s[segment], self._rendition_of
        value = self._after_download(
            self._after_options(segment, self._drift_levels(after)),
            arrive[rendition_of],
            np.median(taken_s, axis=3)[rendition_of],
            compute_s,
        )
        enhanced = np.flatnonzero(compute_s > 0)
        if len(enhanced):
            queued_s = np.maximum(BACKLOGS_S - taken_s[..., None], 0.0)[rendition_of[enhanced]]
            ready_s = queued_s + prices.lead_s[segment, enhanced][:, None, None, None, None]
            is_in_time = ready_s[..., None] <= played_s[rendition_of[enhanced]][..., None, :]
            chance_in_time = self._expect(is_in_time.astype(np.float32))[..., None, :]
            lost_vmaf = prices.quality[segment] - prices.quality[segment, self._plain]
            plain = value[self._plain[enhanced]] - lost_vmaf[enhanced].astype(np.float32).reshape(-1, 1, 1, 1, 1, 1)
            value[enhanced] = chance_in_time * value[enhanced] + (1 - chance_in_time) * plain
        vmaf = prices.quality[segment].astype(np.float32)
        value += stalls[rendition_of][..., None, None, :] + vmaf.reshape(-1, 1, 1, 1, 1, 1)
        return self._choose_best(value, vmaf, shown_vmaf.astype(np.float32))

    def _after_options(self, segment: int, after: Singles) -> Singles:
        """(O, …) values once each option has been shown at `segment`, from those of the qualities around its own."""
        if self._qualities is None:
            return after
        below, share = _interpolation(self._prices.quality[segment], self._qualities)
        low, high = after[below], after[below + 1]
        high -= low
        high *= share.reshape(-1, 1, 1, 1, 1, 1)
        low += high
        return low

    def _choose_best(self, value: Singles, vmaf: Singles, shown_vmaf: Singles) -> Singles:
        """The best option's value less the change to its quality `vmaf`, from each quality `shown_vmaf` before.

        Of the options no better than that quality the best one is the best of value + vmaf, of the others that of
        value - vmaf: running maxima over the options by quality serve every row.
        """
        order = np.argsort(vmaf, kind="stable")
        value, quality = value[order], vmaf[order].reshape(-1, 1, 1, 1, 1, 1)
        lower, higher = value + quality, value - quality
        for option in range(1, len(vmaf)):  # np.maximum.accumulate takes several times as long
            np.maximum(lower[option], lower[option - 1], out=lower[option])
            np.maximum(higher[-option - 1], higher[-option], out=higher[-option - 1])
        best = self.zeros()
        counts = np.searchsorted(vmaf[order], shown_vmaf, side="right")
        for row, (before, count) in enumerate(zip(shown_vmaf, counts.tolist(), strict=True)):
            if count == 0:
                np.add(higher[0], before, out=best[row])
                continue
            np.subtract(lower[count - 1], before, out=best[row])
            if count < len(vmaf):
                np.maximum(best[row], higher[count] + before, out=best[row])
        return best

    def _expect(self, outcomes: Singles) -> Singles:
        """(…, A, B) means over the nodes of outcomes (renditions or options, spreads, levels, nodes, A, B)."""
        lead, tail = outcomes.shape[:3], outcomes.shape[4:]
        rows = outcomes.reshape(*lead, outcomes.shape[3], -1)
        return np.asarray(np.matmul(self._chances[:, :, None, :, 0], rows).reshape(*lead, *tail))

    def _drift_levels(self, after: Singles) -> Singles:
        """The level goes some way back to the session's mean with each segment."""
        drifted = np.empty_like(after)
        for mean, (below, share) in enumerate(self._drift):
            weight = share[:, None, None]
            own = after[..., mean, :]
            drifted[..., mean, :] = own[:, :, below] * (1 - weight) + own[:, :, below + 1] * weight
        return drifted

    def _after_download(self, after: Singles, arrive: Singles, taken_s: Floats, compute_s: Floats) -> Singles:
        """Expected value after the download: the backlog works on meanwhile, the buffer drains as `arrive` says."""
        backlog_s = np.maximum(BACKLOGS_S - taken_s[..., None], 0.0) + compute_s[:, None, None, None]
        worked = hat_weights(backlog_s, BACKLOGS_S)
        flat = after.reshape(*after.shape[:4], -1)
        moved = worked[..., 0, None] * flat[:, :, :, None, 0]
        for node in range(1, len(BACKLOGS_S)):
            moved += worked[..., node, None] * flat[:, :, :, None, node]
        rows = moved.reshape(*after.shape[:3], -1, after.shape[-1])
        return np.asarray(np.matmul(rows, arrive.swapaxes(-1, -2)).reshape(after.shape))


def hat_weights(values: Floats, grid: Floats) -> Singles:
    """(…, len(grid)) weights of linear interpolation."""
    along = np.interp(values, grid, np.arange(len(grid))).astype(np.float32)
    weights = along[..., None] - np.arange(len(grid), dtype=np.float32)
    np.abs(weights, out=weights)
    np.subtract(np.float32(1), weights, out=weights)
    return np.maximum(weights, np.float32(0), out=weights)


def _interpolation(values: Floats, grid: Floats) -> tuple[Indices, Singles]:
    """Index of the node below each value, share of the way to the next."""
    below, share = position(values, grid)
    return np.asarray(below), np.asarray(share, dtype=np.float32)

"""Values of future states: stochastic dynamic programming over the segments to come, once per title and device.

A state is (option shown last, throughput level, download buffer, enhancement backlog), for several spreads and
session means of the throughput (see abr.forecast). Its value is the QoE, in VMAF points summed over segments, that the
best choices from there on may expect. Decisions then cost a lookup. All axes but the first interpolate linearly.

Long titles are planned in windows, each looking beyond its last segment by more than a buffer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from abr.forecast import PULL, nodes
from abr.options import Floats, PriceList, told
from abr.qoe import STALL_PER_S

if TYPE_CHECKING:
    from abr.worth import Stage

Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

WINDOW = 20
BEYOND = 24
"""Segments planned past a window, so that its end is no end."""
OWNED_MAX = 256
"""Kinds of viewers remembered with a title, by the weights that they lack."""
PLANS_MAX = 24
"""Windows kept in memory, least recently used first out."""

SPREADS: Floats = np.array([0.06, 0.1, 0.16, 0.26])
MEANS: Floats = np.log([0.5e6, 1.7e6, 6e6])
BUFFERS_S = (0.0, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 12.0, 16.0, 22.0, 30.0, 42.0, 60.0, 90.0, 150.0, 300.0)
BACKLOGS_S: Floats = np.array([0.0, 5.0, 18.0])
LEVEL_STEP = 0.45
LATENCY_S = 0.06
HOLE_VMAF = -1e4
LOAD_MAX = 2.5
"""Enhancers that need more than this many seconds of compute for a second of video are not planned for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Values for the segments [first, first + len(values)) of a title.

    values: (segments, spreads, levels, means, O, buffers, backlogs) float32: what is to be had after option o has
    been shown at that segment. Grids: levels ln(bit/s), buffers and backlogs in seconds just after the download.
    """

    first: int
    levels: Floats
    buffers_s: Floats
    values: Singles
    stages: dict[tuple[int, bytes], Stage] = field(default_factory=dict)
    """What was made ready to decide from (abr.worth), by segment and weights lacking."""


def levels_of(prices: PriceList) -> Floats:
    """Throughput levels worth telling apart: from far below the lowest rung's rate to far above the highest's."""
    rates = prices.size_bytes.mean(axis=0) * 8 / prices.duration_s.mean()
    lowest, highest = (min(max(rate, 1e3), 1e10) for rate in (rates.min() * 0.12, rates.max() * 3.5))
    lowest, highest = np.log(lowest), np.log(max(highest, 2 * lowest))
    return np.linspace(lowest, highest, max(2, round((highest - lowest) / LEVEL_STEP) + 1))


_STEPS = np.arange(1024.0)


def position(values: Floats, grid: Floats) -> tuple[Indices, Floats]:
    """Where values lie on a grid: index of the node below, share of the way to the next. Clamped to the grid."""
    along = np.interp(values, grid, _STEPS[: len(grid)])
    below = np.minimum(along.astype(np.intp), len(grid) - 2)
    return below, along - below


_plans: OrderedDict[tuple[bytes, tuple[int, ...], int, float], Plan] = OrderedDict()
_digests: WeakKeyDictionary[PriceList, bytes] = WeakKeyDictionary()
_candidates: WeakKeyDictionary[PriceList, Candidates] = WeakKeyDictionary()
_lock = Lock()


def plan_of(prices: PriceList, options: tuple[int, ...], segment: int, buffer_max_s: float) -> Plan:
    """The plan of the window around `segment` for these options of the list; made at first use, then remembered.

    Lists with the same content share their plans. Making one takes 2 to 3 ms for each segment and 16 options.
    """
    key = (_digest(prices), options, segment - segment % WINDOW, buffer_max_s)
    with _lock:
        known = _plans.get(key)
        if known is not None:
            _plans.move_to_end(key)
            return known
    made = plan(filled(prices, list(options)), key[2], buffer_max_s)
    with _lock:
        _plans[key] = made
        while len(_plans) > PLANS_MAX:
            _plans.popitem(last=False)
    return made


def planned(prices: PriceList, options: tuple[int, ...], segment: int, buffer_max_s: float) -> bool:
    """Whether `plan_of` would answer at once."""
    return (_digest(prices), options, segment - segment % WINDOW, buffer_max_s) in _plans


def _digest(prices: PriceList) -> bytes:
    digest = _digests.get(prices)
    if digest is None:
        tables = (prices.duration_s, prices.size_bytes, prices.compute_s, prices.lead_s, prices.vmaf)
        whole = hashlib.blake2b(repr(prices.choices).encode(), digest_size=16)
        for table in tables:
            whole.update(np.ascontiguousarray(table).tobytes())
        digest = _digests[prices] = whole.digest()
    return digest


def filled(prices: PriceList, options: list[int]) -> PriceList:
    """The list cut down to some options, its holes made plain but so bad that nobody plans for them."""
    size, vmaf = prices.size_bytes[:, options], prices.vmaf[:, options]
    compute_s, lead_s = prices.compute_s[:, options], prices.lead_s[:, options]
    hole = ~told(size, vmaf, compute_s, lead_s)
    usual = np.nanmax(np.where(hole, np.nan, size), axis=1, keepdims=True, initial=1.0)
    return PriceList(
        rendition_ids=prices.rendition_ids,
        choices=tuple(prices.choices[i] for i in options),
        duration_s=prices.duration_s,
        size_bytes=np.where(hole, usual, size),
        compute_s=np.where(hole, 0.0, compute_s),
        lead_s=np.where(hole, 0.0, lead_s),
        vmaf=np.where(hole, HOLE_VMAF, vmaf),
        weights=((),) * len(options),
        weights_bytes={},
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """The options of a title that are planned for.

    options: indices into the list, ascending; index: the same as an array. plain: for each the row of the cheapest
    one of its rendition, which shows when an enhancement would be late. owned: by weights lacking, those of them whose
    weights are there.
    """

    options: tuple[int, ...]
    index: Indices
    plain: Indices
    owned: dict[bytes, tuple[int, ...]] = field(default_factory=dict)


def candidates(prices: PriceList) -> Candidates:
    """The options that no other of the same rendition beats in mean compute, mean quality and weights; remembered."""
    known = _candidates.get(prices)
    if known is None:
        options = _pareto(prices)
        index = np.asarray(options, dtype=np.intp)
        known = _candidates[prices] = Candidates(options=options, index=index, plain=_plain_rows(prices, options))
    return known


def plannable(prices: PriceList, weights_bytes: Floats) -> list[tuple[int, ...]]:
    """The options that plans are needed for to decide for who lacks these weights, (O,): all candidates; and those
    among them, if not all, whose weights are there."""
    known, key = candidates(prices), weights_bytes.tobytes()
    owned = known.owned.get(key)
    if owned is None:
        if len(known.owned) >= OWNED_MAX:
            known.owned.clear()
        owned = known.owned[key] = tuple(known.index[weights_bytes[known.index] == 0].tolist())
    return [known.options] if len(owned) in (0, len(known.options)) else [known.options, owned]


def _plain_rows(prices: PriceList, options: Sequence[int]) -> Indices:
    renditions = [prices.choices[option].rendition for option in options]
    return np.array([renditions.index(rendition) for rendition in renditions], dtype=np.intp)


def corners(point: Sequence[Floats], grids: Sequence[Floats]) -> tuple[Indices, Floats]:
    """The nodes around M points of a grid of D axes, as flat indices, and their shares for linear interpolation.

    point: for each axis (M,). Both results are (M, 2^D).
    """
    rows, shares = np.zeros((len(point[0]), 1), dtype=np.intp), np.ones((len(point[0]), 1))
    for values, grid in zip(point, grids, strict=True):
        below, share = position(values[:, None], grid)
        rows = rows * len(grid) + below
        rows = np.concatenate([rows, rows + 1], axis=1)
        shares = np.concatenate([shares * (1 - share), shares * share], axis=1)
    return rows, shares


def _pareto(prices: PriceList) -> tuple[int, ...]:
    known = told(prices.vmaf, prices.compute_s)
    count = np.maximum(known.sum(axis=0), 1)
    vmaf = np.where(known, prices.vmaf, 0.0).sum(axis=0) / count
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
        sustained = compute_s[option] <= LOAD_MAX * prices.duration_s.mean()
        if not cheaper or (sustained and vmaf[option] > max(vmaf[other] for other in cheaper)):
            kept.append(option)
    return tuple(sorted(kept))


def plan(prices: PriceList, first: int, buffer_max_s: float) -> Plan:
    """Values for one window of a title whose tables have no holes (see `filled`)."""
    end = min(first + WINDOW + BEYOND, len(prices.duration_s))
    if len(prices.duration_s) - end < BEYOND // 2:
        end = len(prices.duration_s)
    kept = min(WINDOW, end - first)
    planner = _Planner(prices, buffer_max_s)
    shape = (
        len(SPREADS),
        len(planner.levels),
        len(MEANS),
        len(prices.choices),
        len(planner.buffers_s),
        len(BACKLOGS_S),
    )
    values = np.zeros((kept, *shape), np.float32)
    after = planner.nothing()
    for segment in range(end - 1, first - 1, -1):
        if segment < end - 1:
            after = planner.after(segment, after)
        if segment - first < kept:
            values[segment - first] = after.transpose(1, 2, 4, 0, 5, 3)
    return Plan(first=first, levels=planner.levels, buffers_s=planner.buffers_s, values=values)


class _Planner:
    """One step back in time. Arrays are ordered (O, spreads, levels, backlogs, means, buffers)."""

    def __init__(self, prices: PriceList, buffer_max_s: float) -> None:
        self._prices, self._buffer_max_s = prices, buffer_max_s
        most_s = max(buffer_max_s, float(prices.duration_s.max()))
        self.buffers_s = np.array([*(s for s in BUFFERS_S if s < most_s), most_s])
        self.levels = levels_of(prices)
        self._plain = _plain_rows(prices, range(len(prices.choices)))
        self._firsts, self._which = np.unique(self._plain, return_inverse=True)
        strayed, self._outages_s, chances = nodes(SPREADS)
        self._bps = np.exp(self.levels[None, :, None] + strayed[:, None, :])
        self._chances = chances.astype(np.float32)[:, None, :, None]
        self._drift = [position(self.levels + PULL * (mean - self.levels), self.levels) for mean in MEANS]

    def nothing(self) -> Singles:
        """Values once each option has been shown at the last segment."""
        sizes = (len(self._plain), len(SPREADS), len(self.levels), len(BACKLOGS_S), len(MEANS), len(self.buffers_s))
        return np.zeros(sizes, np.float32)

    def after(self, segment: int, after: Singles) -> Singles:
        """Values once each option has been shown at `segment`, from the values after the segment that follows."""
        shown, segment = self._prices.vmaf[segment].astype(np.float32), segment + 1
        prices, duration_s = self._prices, float(self._prices.duration_s[segment])
        sizes = prices.size_bytes[segment, self._firsts][:, None, None, None]
        taken_s = (LATENCY_S + self._outages_s + sizes * 8 / self._bps).astype(np.float32)
        start_s = np.minimum(self.buffers_s, max(self._buffer_max_s - duration_s, 0.0)).astype(np.float32)
        left_s = start_s - taken_s[..., None]
        played_s = np.maximum(left_s, 0.0)
        chances = self._chances
        arrive = self._expected(_hats(played_s + duration_s, self.buffers_s))
        stalls = (np.minimum(left_s, 0.0) * chances).sum(axis=3) * np.float32(STALL_PER_S)
        compute_s, which = prices.compute_s[segment], self._which
        value = self._shown(self._drifted(after), arrive[which], np.median(taken_s, axis=3)[which], compute_s)
        enhanced = np.flatnonzero(compute_s > 0)
        if len(enhanced):
            queued_s = np.maximum(BACKLOGS_S - taken_s[..., None], 0.0)[which[enhanced]]
            ready_s = queued_s + prices.lead_s[segment, enhanced][:, None, None, None, None]
            in_time = ready_s[..., None] <= played_s[which[enhanced]][..., None, :]
            likely = self._expected(in_time.astype(np.float32))[..., None, :]
            lost = prices.vmaf[segment] - prices.vmaf[segment, self._plain]
            plain = value[self._plain[enhanced]] - lost[enhanced].astype(np.float32).reshape(-1, 1, 1, 1, 1, 1)
            value[enhanced] = likely * value[enhanced] + (1 - likely) * plain
        vmaf = prices.vmaf[segment].astype(np.float32)
        value += stalls[which][..., None, None, :] + vmaf.reshape(-1, 1, 1, 1, 1, 1)
        return self._best(value, vmaf, shown)

    def _best(self, value: Singles, vmaf: Singles, shown: Singles) -> Singles:
        """The best option's value less the change to its quality `vmaf`, from each quality `shown` before.

        Of the options no better than that quality the best one is the best of value + vmaf, of the others that of
        value - vmaf: running maxima over the options by quality serve every row.
        """
        order = np.argsort(vmaf, kind="stable")
        value, quality = value[order], vmaf[order].reshape(-1, 1, 1, 1, 1, 1)
        lower, higher = value + quality, value - quality
        for option in range(1, len(vmaf)):  # np.maximum.accumulate takes several times as long
            np.maximum(lower[option], lower[option - 1], out=lower[option])
            np.maximum(higher[-option - 1], higher[-option], out=higher[-option - 1])
        best = self.nothing()
        counts = np.searchsorted(vmaf[order], shown, side="right")
        for row, (before, count) in enumerate(zip(shown, counts.tolist(), strict=True)):
            if count == 0:
                np.add(higher[0], before, out=best[row])
                continue
            np.subtract(lower[count - 1], before, out=best[row])
            if count < len(vmaf):
                np.maximum(best[row], higher[count] + before, out=best[row])
        return best

    def _expected(self, outcomes: Singles) -> Singles:
        """(…, A, B) means over the nodes of outcomes (renditions or options, spreads, levels, nodes, A, B)."""
        lead, tail = outcomes.shape[:3], outcomes.shape[4:]
        rows = outcomes.reshape(*lead, outcomes.shape[3], -1)
        return np.asarray(np.matmul(self._chances[:, :, None, :, 0], rows).reshape(*lead, *tail))

    def _drifted(self, after: Singles) -> Singles:
        """The level goes some way back to the session's mean with each segment."""
        drifted = np.empty_like(after)
        for mean, place in enumerate(self._drift):
            below, share = _singles(place)
            weight = share[:, None, None]
            own = after[..., mean, :]
            drifted[..., mean, :] = own[:, :, below] * (1 - weight) + own[:, :, below + 1] * weight
        return drifted

    def _shown(self, after: Singles, arrive: Singles, taken_s: Floats, compute_s: Floats) -> Singles:
        """Expected value after the download: the backlog works on meanwhile, the buffer drains as `arrive` says."""
        backlog_s = np.maximum(BACKLOGS_S - taken_s[..., None], 0.0) + compute_s[:, None, None, None]
        worked = _hats(backlog_s, BACKLOGS_S)
        flat = after.reshape(*after.shape[:4], -1)
        moved = worked[..., 0, None] * flat[:, :, :, None, 0]
        for node in range(1, len(BACKLOGS_S)):
            moved += worked[..., node, None] * flat[:, :, :, None, node]
        rows = moved.reshape(*after.shape[:3], -1, after.shape[-1])
        return np.asarray(np.matmul(rows, arrive.swapaxes(-1, -2)).reshape(after.shape))


def _hats(values: Floats, grid: Floats) -> Singles:
    """(…, len(grid)) weights of linear interpolation."""
    along = np.interp(values, grid, np.arange(len(grid))).astype(np.float32)
    weights = along[..., None] - np.arange(len(grid), dtype=np.float32)
    np.abs(weights, out=weights)
    np.subtract(np.float32(1), weights, out=weights)
    return np.maximum(weights, np.float32(0), out=weights)


def _singles(place: tuple[Indices, Floats]) -> tuple[Indices, Singles]:
    return place[0], place[1].astype(np.float32)

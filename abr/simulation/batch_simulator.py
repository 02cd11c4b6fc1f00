"""Many sessions in lockstep: the simulator for whole sets of traces, one array operation for all of them.

The same model as `abr.simulation.simulator`, which stays the plain statement of it: same decisions, same figures
(tested). Every session chooses segment n, then each fetches it, however long that takes. What cannot go in step (a
controller that decides for one session only, a table with holes) is simulated one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abr.controllers import HORIZON
from abr.controllers.batch import DecisionBatch, DownloadColumns, ObservationBatch
from abr.controllers.guard import decide, is_failure
from abr.core.arrays import Floats, Indices
from abr.core.control import (
    DOWNLOADS_MAX,
    MEMORY_MAX,
    WAIT_MAX_S,
    AbandoningController,
    BatchController,
    Controller,
    Decision,
    Observation,
)
from abr.core.options import PriceList, known_cells, menu_of, plain_of
from abr.core.playback import SLACK_S
from abr.core.qoe import Experience, experience
from abr.simulation.simulator import simulate
from abr.simulation.traces import Trace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sessions:
    """M simulated sessions. shown: (M, S) options as shown. stall_s, startup_s, size_bytes (all fetched): (M,).

    failures: (M,) times that the controller failed and the guard answered in its place. first_failure: why, the first
    time.
    """

    prices: PriceList
    shown: Indices
    stall_s: Floats
    startup_s: Floats
    size_bytes: Floats
    failures: Indices
    first_failure: str

    @property
    def quality(self) -> Floats:
        """(M, S) quality of each segment as shown, in the currency of the price list."""
        quality = np.asarray(self.prices.quality[np.arange(self.shown.shape[1]), self.shown])
        return quality if self.prices.energy_points is None else quality + self.prices.energy_points[self.shown]

    @property
    def energy_mj_per_minute(self) -> Floats:
        """(M,) millijoules that enhancing took, a minute of media; 0 where nothing is known of it."""
        if self.prices.energy_w is None:
            return np.zeros(len(self.shown))
        joules = (self.prices.energy_w[self.shown] * self.prices.duration_s).sum(axis=1)
        return np.asarray(60_000 * joules / self.prices.duration_s.sum())

    @property
    def vmaf(self) -> Floats:
        """(M, S) VMAF of each segment as shown."""
        return np.asarray(self.prices.vmaf[np.arange(self.shown.shape[1]), self.shown])

    @property
    def enhanced_share(self) -> Floats:
        """(M,) share of the segments shown enhanced."""
        return np.asarray((self.prices.compute_s[np.arange(self.shown.shape[1]), self.shown] > 0).mean(axis=1))

    @property
    def switches_per_minute(self) -> Floats:
        """(M,) changes of rendition a minute of media; see `abr.core.qoe.switches_per_minute`."""
        renditions = np.array([choice.rendition for choice in self.prices.choices])[self.shown]
        switches = (renditions[:, 1:] != renditions[:, :-1]).sum(axis=1)
        return np.asarray(60 * switches / self.prices.duration_s.sum())

    @property
    def experiences(self) -> list[Experience]:
        """The quality of experience of each session."""
        return [experience(shown, float(stall_s)) for shown, stall_s in zip(self.quality, self.stall_s, strict=True)]


def simulate_many(
    prices: PriceList,
    traces: Sequence[Trace],
    controller: Controller,
    *,
    buffer_max_s: float = 60.0,
    horizon: int = HORIZON,
    start_lowest: bool = False,
) -> Sessions:
    """Play the whole title on each trace. Arguments and rules as for `abr.simulation.simulator.simulate`."""
    has_no_holes = bool(known_cells(prices.size_bytes, prices.compute_s, prices.lead_s, prices.quality).all())
    may_abandon = isinstance(controller, AbandoningController)
    if traces and has_no_holes and isinstance(controller, BatchController) and not may_abandon:
        try:
            return _simulate_in_lockstep(prices, traces, controller, buffer_max_s, horizon, start_lowest)
        except Exception as error:  # noqa: BLE001 - a user's controller may raise anything; alone it is overruled
            log.warning("decide_batch failed (%s: %s), so each session is simulated alone", type(error).__name__, error)
    alone = [
        simulate(prices, trace, controller, buffer_max_s=buffer_max_s, horizon=horizon, start_lowest=start_lowest)
        for trace in traces
    ]
    shown = [step.shown for session in alone for step in session.steps]
    return Sessions(
        prices=prices,
        shown=np.array(shown, dtype=np.intp).reshape(len(alone), len(prices.duration_s)),
        stall_s=np.array([session.stall_s for session in alone]),
        startup_s=np.array([session.startup_s for session in alone]),
        size_bytes=np.array([session.size_bytes for session in alone], dtype=np.float64),
        failures=np.array([session.failures for session in alone], dtype=np.intp),
        first_failure=next((session.first_failure for session in alone if session.failures), ""),
    )


def _simulate_in_lockstep(
    prices: PriceList,
    traces: Sequence[Trace],
    controller: BatchController,
    buffer_max_s: float,
    horizon: int,
    start_lowest: bool,
) -> Sessions:
    sessions = _PlaybackStates(prices, Networks(traces), buffer_max_s, horizon)
    plain = plain_of(prices)
    first = Observation(
        now_s=0.0,
        menu=menu_of(prices, 0, horizon, frozenset()),
        buffer_s=0.0,
        buffer_max_s=buffer_max_s,
        playing=False,
    )
    first_decision = Decision(option=plain[0], reason="start-up") if start_lowest else decide(controller, first)
    sessions.start(first_decision)  # nothing yet tells one session from another
    failed = is_failure(first_decision)
    for segment in range(1, len(prices.duration_s)):
        sessions.play(segment, controller)
    return Sessions(
        prices=prices,
        shown=np.array(sessions.shown).T,
        stall_s=sessions.stall_s,
        startup_s=sessions.startup_s,
        size_bytes=sessions.fetched_bytes,
        failures=np.full(len(traces), failed, dtype=np.intp),
        first_failure=first_decision.reason if failed else "",
    )


class _PlaybackStates:
    """The playback of M sessions, and what their controller is asked with. See `abr.core.playback` for the model."""

    def __init__(self, prices: PriceList, networks: Networks, buffer_max_s: float, horizon: int) -> None:
        self._prices, self._networks, self._buffer_max_s, self._horizon = prices, networks, buffer_max_s, horizon
        self._sessions = len(networks)
        self._plain = np.array(plain_of(prices))[[choice.rendition for choice in prices.choices]]
        self._size_bytes = np.floor(prices.size_bytes)
        keys = sorted(prices.weights_bytes)
        self._needs = np.array([[key in needed for key in keys] for needed in prices.weights], dtype=bool)
        self._key_bytes = np.array([prices.weights_bytes[key] for key in keys], dtype=np.float64)
        self._owned = np.zeros((self._sessions, len(keys)), dtype=bool)
        self._now_s, self._buffer_s, self._backlog_s = np.zeros((3, self._sessions))
        self._downloads = np.empty((4, len(prices.duration_s), self._sessions))
        self._memory: tuple[Floats, ...] = ()
        self.shown: list[Indices] = []
        self.stall_s, self.startup_s, self.fetched_bytes = np.zeros((3, self._sessions))

    def start(self, decision: Decision) -> None:
        """Fetch the first segment; playing begins when it has come."""
        self._memory = tuple(np.full(self._sessions, number) for number in decision.memory)
        self._now_s = np.full(self._sessions, decision.wait_s)
        self._fetch(0, np.full(self._sessions, decision.option))
        self.startup_s, self.stall_s = self._now_s.copy(), np.zeros(self._sessions)

    def play(self, segment: int, controller: BatchController) -> None:
        """Wait until there is room, ask the controller, wait as it says, fetch."""
        room_s = self._buffer_s + self._prices.duration_s[segment] - self._buffer_max_s
        self._pass_time(np.maximum(np.minimum(room_s, self._buffer_s), 0.0))
        decisions = DecisionBatch.of(controller.decide_batch(self._observe(segment)))
        _check(decisions, self._sessions, len(self._prices.choices))
        self._memory = decisions.memory
        self._pass_time(decisions.wait_s)
        self._fetch(segment, decisions.option)

    def _observe(self, segment: int) -> ObservationBatch:
        started_s, duration_s, latency_s, size_bytes = self._downloads[:, max(segment - DOWNLOADS_MAX, 0) : segment]
        return ObservationBatch(
            now_s=self._now_s,
            menu=menu_of(self._prices, segment, self._horizon, frozenset()),
            buffer_s=self._buffer_s,
            buffer_max_s=self._buffer_max_s,
            backlog_s=self._backlog_s,
            downloads=DownloadColumns(
                started_s=started_s, duration_s=duration_s, latency_s=latency_s, size_bytes=size_bytes
            ),
            last=self.shown[-1],
            weights_bytes=self._missing_bytes(),
            memory=self._memory,
        )

    def _missing_bytes(self) -> Floats:
        """(M, O) bytes of weights that each session would still have to fetch for each option."""
        if not len(self._key_bytes):
            return np.zeros((self._sessions, len(self._prices.choices)))
        return np.asarray(~self._owned @ (self._needs * self._key_bytes).T)

    def _pass_time(self, time_s: Floats | float) -> None:
        left_s = self._buffer_s - time_s
        self._now_s = self._now_s + time_s
        self._buffer_s = np.maximum(left_s, 0.0)
        self._stall(left_s)
        self._backlog_s = np.maximum(self._backlog_s - time_s, 0.0)

    def _stall(self, left_s: Floats) -> None:
        self.stall_s = self.stall_s - np.minimum(left_s, 0.0)

    def _fetch(self, segment: int, option: Indices) -> None:
        prices, everyone = self._prices, np.arange(self._sessions)
        size_bytes = self._size_bytes[segment, option]
        if len(self._key_bytes):
            size_bytes = size_bytes + self._missing_bytes()[everyone, option]
            self._owned |= self._needs[option]
        latency_s, end_s = self._networks.fetch(self._now_s, size_bytes)
        started_s, taken_s = self._now_s, end_s - self._now_s
        self._pass_time(taken_s)
        compute_s = prices.compute_s[segment, option]
        ready_s = self._backlog_s + prices.lead_s[segment, option]
        accepted = (compute_s > 0) & (ready_s <= self._buffer_s + SLACK_S)
        self._backlog_s = np.where(accepted, self._backlog_s + compute_s, self._backlog_s)
        self._buffer_s = self._buffer_s + prices.duration_s[segment]
        self.shown.append(np.where(accepted | (compute_s == 0), option, self._plain[option]))
        self._downloads[:, segment] = started_s, taken_s, latency_s, size_bytes
        self.fetched_bytes = self.fetched_bytes + size_bytes


def _check(decisions: DecisionBatch, sessions: int, options: int) -> None:
    option, wait_s = decisions.option, np.asarray(decisions.wait_s)
    if option.shape != (sessions,) or option.dtype.kind not in "iu" or not ((option >= 0) & (option < options)).all():
        raise ValueError(f"expected {sessions} options from 0 to {options - 1}")
    if not ((wait_s >= 0) & (wait_s <= WAIT_MAX_S)).all():
        raise ValueError(f"expected waits from 0 to {WAIT_MAX_S:g} s")
    memory = np.array(decisions.memory)
    if len(memory) > MEMORY_MAX or memory.shape[1:] not in ((), (sessions,)) or not np.isfinite(memory).all():
        raise ValueError(f"expected at most {MEMORY_MAX} columns of {sessions} finite numbers to remember")


class Networks:
    """The traces of M sessions, laid end to end; the array form of `abr.simulation.traces.Trace`."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        counts = np.array([len(trace.duration_s) for trace in traces])
        self._last = np.cumsum(counts) - 1
        self._first = self._last - counts + 1
        self._bps = np.concatenate([trace.throughput_bps for trace in traces])
        self._latency_s = np.concatenate([trace.latency_s for trace in traces])
        self._time = _Line([np.cumsum(trace.duration_s) for trace in traces])
        self._bits = _Line([np.cumsum(trace.duration_s * trace.throughput_bps) for trace in traces])

    def __len__(self) -> int:
        return len(self._first)

    def fetch(self, start_s: Floats, size_bytes: Floats) -> tuple[Floats, Floats]:
        """Latency of a request at `start_s` and the instant of its last byte; see `Trace.fetch_s`.

        All (M,); of a single trace of any shapes that go together.
        """
        length_s, total = self._time.length, self._bits.length
        latency_s = self._latency_s[self._find(self._time, start_s % length_s, right=True)]
        flow_s = start_s + latency_s
        cycles, inside_s = np.divmod(flow_s, length_s)
        span = self._find(self._time, inside_s, right=True)
        missing = (self._time.ends[span] - inside_s) * self._bps[span]
        begun = cycles * total + self._bits.ends[span] - missing
        cycles, target = np.divmod(begun + size_bytes * 8, total)
        cycles, target = np.where(target > 0, cycles, cycles - 1), np.where(target > 0, target, total)
        span = self._find(self._bits, target, right=False)
        inside_s = self._time.ends[span] - (self._bits.ends[span] - target) / self._bps[span]
        return latency_s, np.where(size_bytes > 0, np.maximum(flow_s, cycles * length_s + inside_s), flow_s)

    def _find(self, line: _Line, value: Floats, *, right: bool) -> Indices:
        """The span of each trace whose end is the first after (right) or not before the value; the last if none is.

        Found on the one long line, where offsets cost a few digits, then put right by what lies next to it.
        """
        found = np.searchsorted(line.laid, line.offset + value, side="right" if right else "left")
        found = np.clip(found, self._first, self._last)
        beyond = np.less_equal if right else np.less
        while (late := beyond(line.ends[found], value) & (found < self._last)).any():
            found = found + late
        while (early := (found > self._first) & ~beyond(line.ends[found - 1], value)).any():
            found = found - early
        return np.asarray(found)


class _Line:
    """Sums up to the end of each span: each trace's own (`ends`), and laid one trace after the other (`laid`)."""

    def __init__(self, ends: Sequence[Floats]) -> None:
        self.length = np.array([own[-1] for own in ends])
        self.offset = np.cumsum(self.length) - self.length
        self.ends = np.concatenate(ends)
        self.laid = np.concatenate([own + offset for own, offset in zip(ends, self.offset, strict=True)])

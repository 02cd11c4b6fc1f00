"""The offline optimum: what a player could have reached had it known the whole trace.

A beam search over plans. Every plan that it returns can be played, so its score is a proven lower bound of the
optimum, and it tightens as the beam grows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abr.core.arrays import Floats, Indices
from abr.core.control import Decision, Observation
from abr.core.options import PriceList, known_cells, plain_of
from abr.core.playback import SLACK_S
from abr.core.qoe import STALL_PER_S
from abr.simulation.batch_simulator import Networks
from abr.simulation.simulator import simulate
from abr.simulation.traces import Trace


@dataclass(frozen=True, slots=True)
class ScriptedController:
    """A controller that plays a plan: `options[segment]`."""

    options: tuple[int, ...]

    def decide(self, observation: Observation) -> Decision:
        """See Controller."""
        return Decision(option=self.options[observation.menu.segment], reason="planned with the whole trace known")


@dataclass(frozen=True, slots=True)
class _States:
    """Partial plans of equal length. now_s, buffer_s, backlog_s, score: (M,); option: (M,) the last one shown."""

    now_s: Floats
    buffer_s: Floats
    backlog_s: Floats
    score: Floats
    option: Indices

    def take(self, kept: Indices) -> _States:
        return _States(self.now_s[kept], self.buffer_s[kept], self.backlog_s[kept], self.score[kept], self.option[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """A plan and the QoE that it reaches in the simulator."""

    options: tuple[int, ...]
    qoe: float


def optimum(
    prices: PriceList,
    trace: Trace,
    *,
    buffer_max_s: float = 60.0,
    beam: int = 3000,
    time_step_s: float = 1.0,
    backlog_step_s: float = 4.0,
    buffer_value: float = 2.0,
) -> Optimum:
    """The best plan found for `abr.core.qoe.experience`; segment 0 is the lowest rung, plain, as in the benchmark.

    Of the plans that end a segment at nearly the same time and backlog with the same option the best is kept, and
    of all these the `beam` with the best score plus `buffer_value` points for each buffered second. Title weights
    are taken as owned. time_step_s, backlog_step_s: how near is nearly.
    """
    network, plain = Networks([trace]), np.array(plain_of(prices), dtype=np.intp)
    options = np.flatnonzero(
        known_cells(prices.quality, prices.size_bytes, prices.compute_s, prices.lead_s).all(axis=0)
    )
    _, start_s = network.fetch(np.zeros(1), prices.size_bytes[:1, plain[0]])
    states = _States(
        start_s, prices.duration_s[:1].copy(), np.zeros(1), prices.quality[:1, plain[0]].copy(), plain[:1].copy()
    )
    parents: list[Indices] = []
    chosen: list[Indices] = []
    for segment in range(1, len(prices.duration_s)):
        grown, parent = _grow(prices, network, states, segment, options, buffer_max_s)
        kept = _keep(grown, time_step_s, backlog_step_s, beam, buffer_value)
        parents.append(parent[kept])
        states = grown.take(kept)
        chosen.append(states.option)
    plan: list[int] = []
    best = int(np.argmax(states.score))
    for parent, option in zip(reversed(parents), reversed(chosen), strict=True):
        plan.append(int(option[best]))
        best = int(parent[best])
    options_played = (int(plain[0]), *reversed(plan))
    session = simulate(prices, trace, ScriptedController(options_played), buffer_max_s=buffer_max_s, start_lowest=True)
    return Optimum(options=options_played, qoe=session.experience.qoe)


def _grow(
    prices: PriceList, network: Networks, states: _States, segment: int, options: Indices, buffer_max_s: float
) -> tuple[_States, Indices]:
    """Every state followed by every option whose enhancement ends in time."""
    duration_s = float(prices.duration_s[segment])
    wait_s = np.clip(states.buffer_s + duration_s - buffer_max_s, 0.0, states.buffer_s)
    sizes, which = np.unique(prices.size_bytes[segment, options], return_inverse=True)
    now_s = (states.now_s + wait_s)[:, None]
    _, end_s = network.fetch(now_s, sizes)
    taken_s = (end_s - now_s)[:, which]
    left_s = (states.buffer_s - wait_s)[:, None] - taken_s
    compute_s = prices.compute_s[segment, options]
    queued_s = np.maximum((states.backlog_s - wait_s)[:, None] - taken_s, 0.0)
    backlog_s = queued_s + compute_s
    allowed = (compute_s == 0) | (queued_s + prices.lead_s[segment, options] <= np.maximum(left_s, 0.0) + SLACK_S)
    vmaf = prices.quality[segment, options]
    before = prices.quality[segment - 1, states.option][:, None]
    changes = len(prices.duration_s) / (len(prices.duration_s) - 1)  # oscillation is a mean over one segment fewer
    score = states.score[:, None] + vmaf - changes * np.abs(vmaf - before) + STALL_PER_S * np.minimum(left_s, 0.0)
    parent, column = np.nonzero(allowed)
    grown = _States(
        (now_s + taken_s)[allowed],
        (np.maximum(left_s, 0.0) + duration_s)[allowed],
        backlog_s[allowed],
        score[allowed],
        options[column],
    )
    return grown, parent


def _keep(states: _States, time_step_s: float, backlog_step_s: float, beam: int, buffer_value: float) -> Indices:
    """The best of each kind, and of these the best `beam`."""
    order = np.argsort(-states.score, kind="stable")
    kinds = (
        (states.now_s / time_step_s).astype(np.int64) * 1_000_000
        + (states.backlog_s / backlog_step_s).astype(np.int64) * 1000
        + states.option
    )
    _, first = np.unique(kinds[order], return_index=True)
    kept = order[first]
    if len(kept) > beam:
        ranking = states.score[kept] + buffer_value * states.buffer_s[kept]
        kept = kept[np.argpartition(-ranking, beam)[:beam]]
    return np.asarray(kept, dtype=np.intp)

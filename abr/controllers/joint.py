"""Toprung's controller: rendition and enhancer chosen together, by value of what they lead to.

Every option is tried against the throughputs, and the outage, that may come (abr.forecast); what it earns now, in VMAF
less changes and stalls, is added to the value of the state it leads to (abr.planning). The best expectation wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rules import last_vmaf, quiet, start, starting, step_down, whole
from abr.crowd import Crowd, Decisions, Indices
from abr.forecast import PULL, Belief, believe, believe_many, nodes
from abr.options import Floats, Menu, PriceList
from abr.planning import (
    BACKLOGS_S,
    MEANS,
    SPREADS,
    WINDOW,
    Candidates,
    candidates,
    corners,
    plan_of,
    planned,
    position,
)
from abr.qoe import STALL_PER_S

START_WEIGHTS_SHARE = 0.6
"""Weights fetched at start-up may add this much to the first segment's bytes."""


@dataclass(frozen=True, slots=True)
class Toprung:
    """memory: the belief about the network (abr.forecast.Belief.memory)."""

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return _start(seen)
        belief = believe(seen.downloads, seen.memory)
        stage = _stage(seen.menu, seen.menu.weights_bytes)
        options = stage.known.options
        with quiet():
            values = _worth(stage, _viewer(seen, belief))[0]
        best = int(values.argmax()) if len(values) else 0
        if not len(values) or not math.isfinite(values[best]):
            reason = "toprung: nothing else is offered"
            return Decision(option=step_down(seen.menu, 0), reason=reason, memory=belief.memory())
        reason = (
            f"toprung: expects {belief.throughput_bps / 1e3:.0f} kbit/s ±{math.exp(belief.spread):.0%}, "
            f"buffer {seen.buffer_s:.1f} s, backlog {seen.backlog_s:.1f} s, worth {values[best]:.0f}"
            f"{_runner_up(seen.menu, options, values, best)}"
        )
        return Decision(option=options[best], reason=reason, memory=belief.memory())

    def foreseen(self, prices: PriceList, segment: int, buffer_max_s: float) -> bool:
        return all(planned(prices, options, segment, buffer_max_s) for options in _plannable(prices))

    def foresee(self, prices: PriceList, segment: int, buffer_max_s: float) -> None:
        with quiet():
            for options in _plannable(prices):
                plan_of(prices, options, segment, buffer_max_s)

    def decide_many(self, seen: Crowd) -> Decisions:
        beliefs = believe_many(seen)
        option = np.empty(len(seen.buffer_s), dtype=np.intp)
        for same in _by_weights(seen.weights_bytes):
            stage = _stage(seen.menu, seen.weights_bytes[same[0]])
            viewers = _Viewers(
                level=beliefs.level[same],
                spread=np.exp(beliefs.spread[same]),
                mean=beliefs.mean[same],
                latency_s=seen.latency_s[:, same].mean(axis=0),
                buffer_max_s=seen.buffer_max_s,
                buffer_s=seen.buffer_s[same],
                backlog_s=seen.backlog_s[same],
                vmaf_before=seen.vmaf_before[same],
            )
            option[same] = stage.known.index[_worth(stage, viewers).argmax(axis=1)]
        return Decisions(option=option, memory=beliefs.memory())


def _plannable(prices: PriceList) -> list[tuple[int, ...]]:
    """The options that are planned for: with all weights, and while none are owned."""
    options = candidates(prices).options
    light = tuple(option for option in options if not prices.weights[option])
    return [options] if light == options else [options, light]


def _by_weights(weights_bytes: Floats) -> Iterator[Indices]:
    """The sessions, by which weights they lack."""
    if not weights_bytes.any():
        yield np.arange(len(weights_bytes))
        return
    kinds, which = np.unique(weights_bytes, axis=0, return_inverse=True)
    for kind in range(len(kinds)):
        yield np.flatnonzero(which.ravel() == kind)


def _viewer(seen: Observation, belief: Belief) -> _Viewers:
    before = last_vmaf(seen)
    one = np.array(
        [
            belief.level,
            math.exp(belief.spread),
            belief.mean,
            sum(download.latency_s for download in seen.downloads) / len(seen.downloads),
            seen.buffer_s,
            seen.backlog_s,
            math.nan if before is None else before,
        ]
    )[:, None]
    return _Viewers(
        level=one[0],
        spread=one[1],
        mean=one[2],
        latency_s=one[3],
        buffer_max_s=seen.buffer_max_s,
        buffer_s=one[4],
        backlog_s=one[5],
        vmaf_before=one[6],
    )


def _start(seen: Observation) -> Decision:
    """The lowest rung; with its lightest enhancer, if that can begin at once and its weights weigh little beside it.

    Later those weights would have to be fetched out of a buffer that may never be full enough: nobody waits for them
    as patiently as a viewer who has not begun to watch, and the lowest rung is where they are needed most.
    """
    plain, menu = start(seen), seen.menu
    light = START_WEIGHTS_SHARE * menu.size_bytes[0, plain.option]
    lifted = [
        option
        for option, choice in enumerate(menu.choices)
        if choice.rendition == menu.choices[plain.option].rendition
        and menu.compute_s[0, option] > 0
        and menu.lead_s[0, option] == 0
        and menu.weights_bytes[option] <= light
    ]
    if not lifted:
        return plain
    option = min(lifted, key=lambda i: (menu.weights_bytes[i], menu.compute_s[0, i]))
    name, kilobytes = menu.choices[option].enhancer, menu.weights_bytes[option] / 1e3
    return Decision(option=option, reason=f"start-up: lowest rung, and {name} with {kilobytes:.0f} kB of weights")


def _runner_up(menu: Menu, options: tuple[int, ...], values: Floats, best: int) -> str:
    others = values.copy()
    others[best] = -np.inf
    second = int(others.argmax())
    if not math.isfinite(others[second]):
        return ", nothing else possible"
    choice = menu.choices[options[second]]
    return f", {values[best] - values[second]:.1f} more than rung {choice.rendition + 1} {choice.enhancer}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stage:
    """What M sessions may choose from, P options of a list worth planning for.

    vmaf, compute_s, lead_s, size_bytes, weights_bytes: (P,). weights: the same for all of these sessions.
    """

    prices: PriceList
    known: Candidates
    segment: int
    duration_s: float
    vmaf: Floats
    compute_s: Floats
    lead_s: Floats
    size_bytes: Floats
    weights_bytes: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Viewers:
    """M sessions. level, spread (nats), mean, latency_s, buffer_s, backlog_s: (M,).

    vmaf_before: (M,) the quality last shown; NaN where it is not known.
    """

    level: Floats
    spread: Floats
    mean: Floats
    latency_s: Floats
    buffer_max_s: float
    buffer_s: Floats
    backlog_s: Floats
    vmaf_before: Floats


def _stage(menu: Menu, weights_bytes: Floats) -> _Stage:
    prices = _known(menu)
    known = candidates(prices)
    chosen = known.index
    return _Stage(
        prices=prices,
        known=known,
        segment=menu.segment if menu.prices is not None else 0,
        duration_s=float(menu.duration_s[0]),
        vmaf=menu.vmaf[0, chosen],
        compute_s=menu.compute_s[0, chosen],
        lead_s=menu.lead_s[0, chosen],
        size_bytes=menu.size_bytes[0, chosen],
        weights_bytes=weights_bytes[chosen],
    )


def _worth(stage: _Stage, viewers: _Viewers) -> Floats:
    """(M, P) the QoE to be expected from each option until the end; -inf for what cannot be."""
    strayed, outages_s, chances = nodes(viewers.spread)
    second_per_byte = 8 / np.exp(viewers.level[:, None] + strayed)[:, None]
    buffer_s, backlog_s = viewers.buffer_s[:, None, None], viewers.backlog_s[:, None, None]
    size_bytes = (stage.size_bytes + stage.weights_bytes)[:, None]
    taken_s = viewers.latency_s[:, None, None] + outages_s + size_bytes * second_per_byte
    left_s = buffer_s - taken_s
    played_s = np.maximum(left_s, 0.0)
    queued_s = np.maximum(backlog_s - taken_s, 0.0)
    ready_s = queued_s + stage.compute_s[:, None]
    after_s = played_s + stage.duration_s

    table = _Table(stage, viewers, stage.known.options)
    queued = position(ready_s, BACKLOGS_S)
    filled = position(after_s, table.buffers_s)
    future = table.at(filled, queued)
    if stage.weights_bytes.any():
        owned = np.flatnonzero(stage.weights_bytes == 0)
        fetch_s = stage.weights_bytes.max() * second_per_byte
        waiting = STALL_PER_S * np.minimum(after_s - fetch_s, 0.0)
        later = table.at(position(np.maximum(after_s - fetch_s, 0.0), table.buffers_s), queued) + waiting
        without = _Table(stage, viewers, tuple(stage.known.index[owned].tolist()))
        without_weights = without.at(_only(filled, owned), _only(queued, owned))
        future[:, owned] = np.maximum(without_weights, later[:, owned])

    vmaf, compute_s, plain = stage.vmaf, stage.compute_s, stage.known.plain
    in_time = (compute_s[:, None] == 0) | (queued_s + stage.lead_s[:, None] <= played_s)
    future = np.where(in_time, future, future[:, plain] - (vmaf - vmaf[plain])[:, None])
    values = ((future + STALL_PER_S * np.minimum(left_s, 0.0)) @ chances[:, :, None])[:, :, 0] + vmaf
    values -= np.nan_to_num(np.abs(vmaf - viewers.vmaf_before[:, None]))
    impossible = (compute_s > 0) & (viewers.backlog_s[:, None] + stage.lead_s > viewers.buffer_s[:, None])
    return np.where(impossible | ~np.isfinite(values), -np.inf, values)


class _Table:
    """A plan's values for some options at one segment, for what M sessions believe of the network."""

    def __init__(self, stage: _Stage, viewers: _Viewers, options: tuple[int, ...]) -> None:
        plan = plan_of(stage.prices, options, stage.segment, viewers.buffer_max_s)
        self.buffers_s = plan.buffers_s
        """The same for all plans of a title and a largest buffer."""
        level = viewers.level + PULL * (viewers.mean - viewers.level)
        rows, shares = corners((viewers.spread, level, viewers.mean), (SPREADS, plan.levels, MEANS))
        values = plan.values[stage.segment - plan.first]
        flat = values.reshape(-1, values[0, 0, 0].size)
        self._values = shares.astype(np.float32)[:, None] @ flat[rows]
        self._options, self._wide, self._deep = values.shape[3:]

    def at(self, buffer: Place, backlog: Place) -> Floats:
        """(M, P, N) values when option p has been shown, for the places of buffers and backlogs (M, P, N) after the
        download on their grids."""
        buffers, buffer_share = buffer
        backlogs, backlog_share = backlog
        first = np.arange(len(buffers) * self._options).reshape(-1, self._options, 1) * self._wide
        corner = (first + buffers) * self._deep + backlogs
        flat = self._values.ravel()
        low = flat[corner] * (1 - backlog_share) + flat[corner + 1] * backlog_share
        corner += self._deep
        high = flat[corner] * (1 - backlog_share) + flat[corner + 1] * backlog_share
        return np.asarray(low * (1 - buffer_share) + high * buffer_share)


Place = tuple[Indices, Floats]
"""What `position` tells."""


def _only(place: Place, options: Indices) -> Place:
    return place[0][:, options], place[1][:, options]


def _known(menu: Menu) -> PriceList:
    """The whole title; when only the next segments are known, those over and over for as long as a plan looks."""
    if menu.prices is not None:
        return menu.prices
    rows = np.resize(np.arange(len(menu.duration_s)), min(menu.segments_left, WINDOW))
    bare = whole(menu)
    return PriceList(
        rendition_ids=(),
        choices=bare.choices,
        duration_s=bare.duration_s[rows],
        size_bytes=bare.size_bytes[rows],
        compute_s=bare.compute_s[rows],
        lead_s=bare.lead_s[rows],
        vmaf=bare.vmaf[rows],
        weights=(),
        weights_bytes={},
    )

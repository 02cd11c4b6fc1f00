"""Toprung's controller: rendition and enhancer chosen together, by value of what they lead to.

Every option is tried against the throughputs, and the outage, that may come (abr.forecast); what it earns now, in VMAF
less changes and stalls, is added to the value of the state it leads to (abr.planning). The best expectation wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rules import last_vmaf, offered, start, starting, step_down, whole
from abr.crowd import Crowd, Decisions, Indices
from abr.forecast import Belief, believe, believe_many
from abr.options import Floats, Menu, PriceList
from abr.planning import WINDOW, plan_of, plannable, planned
from abr.worth import Stage, Viewer, gathered, shared, stage_of, viewers, worth

START_WEIGHTS_SHARE = 0.6
"""Weights fetched at start-up may add this much to the first segment's bytes."""


@dataclass(frozen=True, slots=True)
class Toprung:
    """memory: the belief about the network (abr.forecast.Belief.memory)."""

    def decide(self, seen: Observation) -> Decision:
        return self.decide_group((seen,))[0]

    def decide_group(self, seen: Sequence[Observation]) -> list[Decision]:
        decisions: dict[int, Decision] = {}
        groups: dict[object, list[tuple[int, Stage, Viewer]]] = {}
        for index, each in enumerate(seen):
            if starting(each):
                decisions[index] = _start(each)
                continue
            stage = _stage(each.menu, each.menu.weights_bytes, each.buffer_max_s)
            viewer = _viewer(each)
            groups.setdefault((stage.kind, viewer.vmaf_before is None), []).append((index, stage, viewer))
        for group in groups.values():
            stage = shared([stage for _, stage, _ in group])
            values = worth(stage, gathered(stage, [viewer for _, _, viewer in group])).tolist()
            for (index, _, viewer), row in zip(group, values, strict=True):
                decisions[index] = _decision(seen[index], viewer.belief, stage.options, row)
        return [decisions[index] for index in range(len(seen))]

    def foreseen(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> bool:
        return all(planned(prices, options, segment, buffer_max_s) for options in plannable(prices, weights_bytes))

    def foresee(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> None:
        for options in plannable(prices, weights_bytes):
            plan_of(prices, options, segment, buffer_max_s)

    def decide_many(self, seen: Crowd) -> Decisions:
        beliefs = believe_many(seen)
        option = np.empty(len(seen.buffer_s), dtype=np.intp)
        for same in _by_weights(seen.weights_bytes):
            stage = _stage(seen.menu, seen.weights_bytes[same[0]], seen.buffer_max_s)
            many = viewers(
                stage,
                beliefs.rows(same),
                latency_s=seen.latency_s[:, same].mean(axis=0),
                buffer_s=seen.buffer_s[same],
                backlog_s=seen.backlog_s[same],
                vmaf_before=seen.vmaf_before[same],
            )
            option[same] = np.array(stage.options)[worth(stage, many).argmax(axis=1)]
        return Decisions(option=option, memory=beliefs.memory())


def _viewer(seen: Observation) -> Viewer:
    return Viewer(
        belief=believe(seen.downloads, seen.memory),
        latency_s=sum([download.latency_s for download in seen.downloads]) / len(seen.downloads),
        buffer_s=seen.buffer_s,
        backlog_s=seen.backlog_s,
        vmaf_before=last_vmaf(seen),
    )


def _decision(seen: Observation, belief: Belief, options: tuple[int, ...], values: list[float]) -> Decision:
    """For the best of the values, one for each option."""
    most = max(values, default=-math.inf)
    if most == -math.inf:
        reason = "toprung: nothing else is offered"
        return Decision(option=step_down(seen.menu, 0), reason=reason, memory=belief.memory())
    best = values.index(most)
    reason = (
        f"toprung: expects {belief.throughput_bps / 1e3:.0f} kbit/s ±{math.exp(belief.spread):.0%}, "
        f"buffer {seen.buffer_s:.1f} s, backlog {seen.backlog_s:.1f} s, worth {most:.0f}"
        f"{_runner_up(seen.menu, options, values, best)}"
    )
    return Decision(option=options[best], reason=reason, memory=belief.memory())


def _by_weights(weights_bytes: Floats) -> Iterator[Indices]:
    """The sessions, by which weights they lack."""
    if not weights_bytes.any():
        yield np.arange(len(weights_bytes))
        return
    kinds, which = np.unique(weights_bytes, axis=0, return_inverse=True)
    for kind in range(len(kinds)):
        yield np.flatnonzero(which.ravel() == kind)


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
        and offered(menu, option)
        and menu.compute_s[0, option] > 0
        and menu.lead_s[0, option] == 0
        and menu.weights_bytes[option] <= light
    ]
    if not lifted:
        return plain
    option = min(lifted, key=lambda i: (menu.weights_bytes[i], menu.compute_s[0, i]))
    name, kilobytes = menu.choices[option].enhancer, menu.weights_bytes[option] / 1e3
    return Decision(option=option, reason=f"start-up: lowest rung, and {name} with {kilobytes:.0f} kB of weights")


def _runner_up(menu: Menu, options: tuple[int, ...], values: list[float], best: int) -> str:
    most, values[best] = values[best], -math.inf
    second = max(values)
    if second == -math.inf:
        return ", nothing else possible"
    choice = menu.choices[options[values.index(second)]]
    return f", {most - second:.1f} more than rung {choice.rendition + 1} {choice.enhancer}"


def _stage(menu: Menu, weights_bytes: Floats, buffer_max_s: float) -> Stage:
    return stage_of(_known(menu), menu.segment if menu.prices is not None else 0, weights_bytes, buffer_max_s)


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

"""Toprung's controller: rendition and enhancer chosen together, by value of what they lead to.

Every option is tried against the throughputs, and the outage, that may come (abr.forecast); what it earns now, in VMAF
less changes and stalls, is added to the value of the state it leads to (abr.planning). The best expectation wins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from abr.control import Decision, Observation
from abr.controllers.rules import last_vmaf, quiet, start, starting, step_down, whole
from abr.forecast import PULL, Belief, believe, nodes
from abr.options import Floats, Menu, PriceList
from abr.planning import BACKLOGS_S, MEANS, SPREADS, WINDOW, Plan, candidates, corners, plan_of, planned, position
from abr.qoe import STALL_PER_S

START_WEIGHTS_SHARE = 0.6
"""Weights fetched at start-up may add this much to the first segment's bytes."""

_SPREADS: list[float] = SPREADS.tolist()
_MEANS: list[float] = MEANS.tolist()


@dataclass(frozen=True, slots=True)
class Toprung:
    """memory: the belief about the network (abr.forecast.Belief.memory)."""

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return _start(seen)
        belief = believe(seen.downloads, seen.memory)
        with quiet():
            options, values = _worth(seen, belief)
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


def _plannable(prices: PriceList) -> list[tuple[int, ...]]:
    """The options that are planned for: with all weights, and while none are owned."""
    options = candidates(prices).options
    light = tuple(option for option in options if not prices.weights[option])
    return [options] if light == options else [options, light]


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


def _worth(seen: Observation, belief: Belief) -> tuple[tuple[int, ...], Floats]:
    """The options considered and the QoE to be expected from each until the end; -inf for what cannot be."""
    menu, prices = seen.menu, _known(seen.menu)
    known = candidates(prices)
    options, chosen, plain = known.options, known.index, known.plain
    segment = menu.segment if menu.prices is not None else 0
    weights_bytes, vmaf = menu.weights_bytes[chosen], menu.vmaf[0, chosen]
    compute_s, lead_s = menu.compute_s[0, chosen], menu.lead_s[0, chosen]
    latency_s = sum(download.latency_s for download in seen.downloads) / len(seen.downloads)
    strayed, outages_s, chances = nodes(math.exp(belief.spread))
    second_per_byte = 8 / np.exp(belief.level + strayed)
    taken_s = latency_s + outages_s + (menu.size_bytes[0, chosen] + weights_bytes)[:, None] * second_per_byte
    left_s = seen.buffer_s - taken_s
    played_s = np.maximum(left_s, 0.0)
    queued_s = np.maximum(seen.backlog_s - taken_s, 0.0)
    ready_s = queued_s + compute_s[:, None]
    after_s = played_s + float(menu.duration_s[0])

    table = _Table(plan_of(prices, options, segment, seen.buffer_max_s), segment, belief)
    future = table.at(after_s, ready_s)
    if weights_bytes.any():
        owned = np.flatnonzero(weights_bytes == 0)
        fetch_s = weights_bytes.max() * second_per_byte
        later = table.at(np.maximum(after_s - fetch_s, 0.0), ready_s) + STALL_PER_S * np.minimum(after_s - fetch_s, 0.0)
        without = _Table(plan_of(prices, tuple(chosen[owned].tolist()), segment, seen.buffer_max_s), segment, belief)
        future[owned] = np.maximum(without.at(after_s[owned], ready_s[owned]), later[owned])

    in_time = (compute_s[:, None] == 0) | (queued_s + lead_s[:, None] <= played_s)
    future = np.where(in_time, future, future[plain] - (vmaf - vmaf[plain])[:, None])
    before = last_vmaf(seen)
    values = (future + STALL_PER_S * np.minimum(left_s, 0.0)) @ chances + vmaf
    values -= 0.0 if before is None else np.abs(vmaf - before)
    impossible = (compute_s > 0) & (seen.backlog_s + lead_s > seen.buffer_s)
    return options, np.where(impossible | ~np.isfinite(values), -np.inf, values)


class _Table:
    """A plan's values at one segment, for what is believed of the network."""

    def __init__(self, plan: Plan, segment: int, belief: Belief) -> None:
        self._buffers_s = plan.buffers_s
        level = belief.level + PULL * (belief.mean - belief.level)
        rows, shares = corners((math.exp(belief.spread), level, belief.mean), (_SPREADS, plan.level_list, _MEANS))
        values = plan.values[segment - plan.first]
        flat = values.reshape(-1, values[0, 0, 0].size)
        self._values = (np.array(shares, dtype=np.float32) @ flat[rows]).reshape(values.shape[3:])

    def at(self, buffer_s: Floats, backlog_s: Floats) -> Floats:
        """(O, N) values when option o has been shown, for buffers and backlogs (O, N) after the download."""
        buffers, buffer_share = position(buffer_s, self._buffers_s)
        backlogs, backlog_share = position(backlog_s, BACKLOGS_S)
        _, wide, deep = self._values.shape
        corner = (np.arange(len(buffer_s))[:, None] * wide + buffers) * deep + backlogs
        flat = self._values.ravel()
        low = flat[corner] * (1 - backlog_share) + flat[corner + 1] * backlog_share
        high = flat[corner + deep] * (1 - backlog_share) + flat[corner + deep + 1] * backlog_share
        return np.asarray(low * (1 - buffer_share) + high * buffer_share)


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

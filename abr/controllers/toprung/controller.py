"""Toprung's controller: rendition and enhancer chosen together, by value of what they lead to.

Every option is tried against the throughputs, and the outage, that may come (abr.controllers.toprung.forecast); what
it earns now, in VMAF less changes and stalls, is added to the value of the state it leads to
(abr.controllers.toprung.backward_induction). The best expectation wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np

from abr.controllers.batch import DecisionBatch, ObservationBatch
from abr.controllers.common import is_offered, is_starting, last_vmaf, price_list_of
from abr.controllers.greedy import greedy
from abr.controllers.ladder import start, step_down
from abr.controllers.rate_based import Throughput
from abr.controllers.toprung.candidates import option_sets
from abr.controllers.toprung.forecast import Forecast, forecast_columns, forecast_throughput
from abr.controllers.toprung.option_table import OptionTable, option_table_of, planned_table_of, stack_tables
from abr.controllers.toprung.option_values import PlayerState, evaluate_options, stack_states
from abr.controllers.toprung.plan_library import PlanLibrary
from abr.controllers.toprung.value_tables import WINDOW, has_value_table, value_table_of
from abr.core.arrays import Floats, Indices
from abr.core.control import Decision, Observation
from abr.core.options import Menu, PriceList

START_WEIGHTS_SHARE = 0.6
"""Weights fetched at start-up may add this much to the first segment's bytes."""
_ONE_STEP = greedy(Throughput())


@dataclass(frozen=True, slots=True)
class Toprung:
    """memory: the forecast of the network (abr.controllers.toprung.forecast.Forecast.memory).

    plans: those that decisions rest on. Decisions then never wait: they take the plan of the nearest class of device,
    or a rule that looks one step ahead, until there is one of their own; the reason says so. None: the device's own
    values, computed when they are first needed.
    """

    plans: PlanLibrary | None = None
    decides_unplanned: ClassVar[bool] = True
    """A server need not wait for `precompute`."""

    def decide(self, observation: Observation) -> Decision:
        """See Controller."""
        return self.decide_batch((observation,))[0]

    def decide_batch(self, observations: Sequence[Observation]) -> Sequence[Decision]:
        """See BatchController."""
        if isinstance(observations, ObservationBatch):
            return self._decide_columns(observations)
        decisions: dict[int, Decision] = {}
        groups: dict[object, list[tuple[int, OptionTable, PlayerState, float]]] = {}
        for index, observation in enumerate(observations):
            if is_starting(observation):
                decisions[index] = _start(observation)
                continue
            table, distance = self._option_table(
                observation.menu, observation.menu.weights_bytes, observation.buffer_max_s
            )
            if table is None:
                decisions[index] = _one_step(observation)
                continue
            state = _player_state(observation)
            groups.setdefault((table.shape, state.vmaf_before is None), []).append((index, table, state, distance))
        for group in groups.values():
            tables = [table for _, table, _, _ in group]
            states = stack_states([state for _, _, state, _ in group], [table.levels for table in tables])
            values = evaluate_options(stack_tables(tables), states).tolist()
            for (index, table, state, distance), row in zip(group, values, strict=True):
                options = table.options
                decisions[index] = _decision(
                    observations[index], state.forecast, options, row[: len(options)], distance
                )
        return [decisions[index] for index in range(len(observations))]

    def _decide_columns(self, batch: ObservationBatch) -> DecisionBatch:
        forecast, latency_s = forecast_columns(batch), batch.downloads.latency_s.mean(axis=0)
        option = np.empty(len(batch), dtype=np.intp)
        for sessions in _by_weights(batch.weights_bytes):
            table = self._simulated_table(batch.menu, batch.weights_bytes[sessions[0]], batch.buffer_max_s)
            state = PlayerState(
                forecast=forecast.rows(sessions),
                latency_s=latency_s[sessions],
                buffer_s=batch.buffer_s[sessions],
                backlog_s=batch.backlog_s[sessions],
                vmaf_before=batch.vmaf_before[sessions],
            )
            values = evaluate_options(table, stack_states([state], [table.levels]))
            option[sessions] = np.array(table.options)[values.argmax(axis=1)]
        memory = tuple(np.broadcast_to(number, len(batch)) for number in forecast.memory())
        return DecisionBatch(option=option, memory=memory)

    def _simulated_table(self, menu: Menu, weights_bytes: Floats, buffer_max_s: float) -> OptionTable:
        """In a simulation a plan is waited for: no time passes there."""
        if self.plans is not None and menu.prices is not None:
            self.plans.plan(menu.prices, menu.segment, weights_bytes, buffer_max_s)
        table, _ = self._option_table(menu, weights_bytes, buffer_max_s)
        assert table is not None
        return table

    def is_precomputed(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> bool:
        """See PrecomputingController."""
        if self.plans is not None:
            return self.plans.is_planned(prices, segment, weights_bytes, buffer_max_s)
        sets = option_sets(prices, weights_bytes)
        return all(has_value_table(prices, options, segment, buffer_max_s) for options in sets)

    def precompute(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> None:
        """See PrecomputingController."""
        if self.plans is not None:
            self.plans.plan(prices, segment, weights_bytes, buffer_max_s)
            return
        for options in option_sets(prices, weights_bytes):
            value_table_of(prices, options, segment, buffer_max_s)

    def preload(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> None:
        """What of `precompute` is quick: plans that lie with the title."""
        if self.plans is not None:
            self.plans.plan(prices, segment, weights_bytes, buffer_max_s, only_read=True)

    def _option_table(self, menu: Menu, weights_bytes: Floats, buffer_max_s: float) -> tuple[OptionTable | None, float]:
        """None when there is no plan; with how far the class is from the device's own that it was planned for, VMAF."""
        if self.plans is None or menu.prices is None:
            return _exact_table(menu, weights_bytes, buffer_max_s), 0.0
        found = self.plans.find_all(menu.prices, menu.segment, weights_bytes, buffer_max_s)
        if found is None:
            return None, 0.0
        return planned_table_of(menu.prices, menu.segment, weights_bytes, found.plans), found.distance


def _player_state(observation: Observation) -> PlayerState:
    downloads = observation.downloads
    return PlayerState(
        forecast=forecast_throughput(downloads, observation.memory),
        latency_s=sum([download.latency_s for download in downloads]) / len(downloads),
        buffer_s=observation.buffer_s,
        backlog_s=observation.backlog_s,
        vmaf_before=last_vmaf(observation),
    )


def _one_step(observation: Observation) -> Decision:
    """What the throughput carries, with the best enhancement that is affordable: the rule until there is a plan."""
    decision = _ONE_STEP.decide(observation)
    memory = forecast_throughput(observation.downloads, observation.memory).memory()
    return msgspec.structs.replace(
        decision, reason=f"toprung: no plan yet, so one step: {decision.reason}", memory=memory
    )


def _decision(
    observation: Observation, forecast: Forecast, options: tuple[int, ...], values: list[float], distance: float
) -> Decision:
    """For the best of the values, one for each option. distance: of the class whose plan gave them."""
    most = max(values, default=-math.inf)
    if most == -math.inf:
        reason = "toprung: nothing else is offered"
        return Decision(option=step_down(observation.menu, 0), reason=reason, memory=forecast.memory())
    best = values.index(most)
    reason = (
        f"toprung: expects {math.exp(forecast.level) / 1e3:.0f} kbit/s ±{math.exp(forecast.spread):.0%}, "
        f"buffer {observation.buffer_s:.1f} s, backlog {observation.backlog_s:.1f} s, worth {most:.0f}"
        f"{_runner_up(observation.menu, options, values, best)}"
        f"{f', by the plan of a device like it ({distance:.1f} VMAF apart)' if distance else ''}"
    )
    return Decision(option=options[best], reason=reason, memory=forecast.memory())


def _by_weights(weights_bytes: Floats) -> Iterator[Indices]:
    """The sessions, grouped by the weights that they lack."""
    if not weights_bytes.any():
        yield np.arange(len(weights_bytes))
        return
    kinds, which = np.unique(weights_bytes, axis=0, return_inverse=True)
    for kind in range(len(kinds)):
        yield np.flatnonzero(which.ravel() == kind)


def _start(observation: Observation) -> Decision:
    """The lowest rung; with its lightest enhancer, if that can begin at once and its weights weigh little beside it.

    Later those weights would have to be fetched out of a buffer that may never be full enough: nobody waits for them
    as patiently as a viewer who has not begun to watch, and the lowest rung is where they are needed most.
    """
    plain, menu = start(observation), observation.menu
    light_bytes = START_WEIGHTS_SHARE * menu.size_bytes[0, plain.option]
    enhanced = [
        option
        for option, choice in enumerate(menu.choices)
        if choice.rendition == menu.choices[plain.option].rendition
        and is_offered(menu, option)
        and menu.compute_s[0, option] > 0
        and menu.lead_s[0, option] == 0
        and menu.weights_bytes[option] <= light_bytes
    ]
    if not enhanced:
        return plain
    option = min(enhanced, key=lambda i: (menu.weights_bytes[i], menu.compute_s[0, i]))
    name, kilobytes = menu.choices[option].enhancer, menu.weights_bytes[option] / 1e3
    return Decision(option=option, reason=f"start-up: lowest rung, and {name} with {kilobytes:.0f} kB of weights")


def _runner_up(menu: Menu, options: tuple[int, ...], values: list[float], best: int) -> str:
    most, values[best] = values[best], -math.inf
    second = max(values)
    if second == -math.inf:
        return ", nothing else possible"
    choice = menu.choices[options[values.index(second)]]
    return f", {most - second:.1f} more than rung {choice.rendition + 1} {choice.enhancer}"


def _exact_table(menu: Menu, weights_bytes: Floats, buffer_max_s: float) -> OptionTable:
    segment = menu.segment if menu.prices is not None else 0
    return option_table_of(_whole_title(menu), segment, weights_bytes, buffer_max_s)


def _whole_title(menu: Menu) -> PriceList:
    """The whole title; when only the next segments are known, those over and over to fill a window."""
    if menu.prices is not None:
        return menu.prices
    rows = np.resize(np.arange(len(menu.duration_s)), min(menu.segments_left, WINDOW))
    bare = price_list_of(menu)
    return PriceList(
        rendition_ids=(),
        choices=bare.choices,
        duration_s=bare.duration_s[rows],
        size_bytes=bare.size_bytes[rows],
        compute_s=bare.compute_s[rows],
        lead_s=bare.lead_s[rows],
        quality=bare.quality[rows],
        vmaf=bare.vmaf[rows],
        weights=(),
        weights_bytes={},
    )

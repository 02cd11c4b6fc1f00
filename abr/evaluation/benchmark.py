"""Where controllers are compared: a priced title, sets of traces, and what each controller reached on them."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from abr.controllers import CONTROLLERS, make_controller
from abr.controllers.bones import Bones, BonesAuto, BonesMonitor
from abr.core.control import AbandoningController, BatchController, Controller, Decision, DownloadInFlight, Observation
from abr.core.options import PriceList
from abr.core.qoe import Experience
from abr.errors import InputError, UnknownNameError
from abr.evaluation.controller_failures import ControllerFailures, quiet_guard
from abr.opinions.fitted import FittedQoe
from abr.opinions.scales import in_points, list_scale
from abr.simulation.batch_simulator import simulate_many
from abr.simulation.benchmark_data import classic_prices, load_benchmark
from abr.simulation.simulator import simulate
from abr.simulation.trace_formats import read_traces
from abr.simulation.traces import Trace

BOOTSTRAPS = 2000
ALONE = 16
"""Traces on which decisions for one session at a time are timed."""
CLASSIC = "classic"
CLASSIC_POINT = 0.043
"""Mbit/s that a point of quality stands for in classic mode: there QoE is Pensieve's QoE_lin (see
abr.simulation.benchmark_data)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """profile: what `enhance_<profile>.json` priced, or CLASSIC. point: what QoE is multiplied by."""

    profile: str
    prices: PriceList
    sets: dict[str, list[Trace]]
    point: float = 1.0


def read_benchmark(folder: Path, profile: str, scaled: Sequence[str] = ()) -> Benchmark:
    """The benchmark's movie and traces. scaled: `SET=FACTOR` adds that set with all throughputs multiplied."""
    sets = read_sets(folder)
    for scaling in scaled:
        name, _, factor = scaling.partition("=")
        if name not in sets:
            raise UnknownNameError("trace set", name, sets)
        try:
            by = float(factor)
            sets[f"{name}×{by:g}"] = [trace.scaled(by, trace.name) for trace in sets[name]]
        except ValueError as error:
            raise InputError(f"{scaling!r} does not scale a trace set; give it as {name}=0.1.") from error
    return Benchmark(profile=profile, prices=load_benchmark(folder, profile), sets=sets)


def read_classic_benchmark(folder: Path) -> Benchmark:
    """Pensieve's six rates without enhancement; every folder of traces in `folder` is a set."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if not folders:
        raise InputError(f"{folder} holds no folders of traces: give a folder of them with --data.")
    sets = {path.name: read_traces(path) for path in folders}
    return Benchmark(profile=CLASSIC, prices=classic_prices(), sets=sets, point=CLASSIC_POINT)


def in_opinions(benchmark: Benchmark, qoe: FittedQoe) -> Benchmark:
    """The same, quality in the points of a QoE learnt from people. Raises InputError for one that it does not fit."""
    if benchmark.profile == CLASSIC:
        raise InputError("Pensieve's QoE_lin counts Mbit/s: leave out --classic or --qoe.")
    return replace(benchmark, prices=in_points(benchmark.prices, list_scale(qoe, benchmark.prices)))


def held_out(trace: Trace) -> bool:
    """Whether the trace belongs to the third, by a hash of its name, that no constant of ours was fitted on."""
    return int(hashlib.sha256(trace.name.encode()).hexdigest(), 16) % 3 == 0


@dataclass(slots=True)
class TimedController:
    """Passes on to a controller and keeps the CPU time of each decision, in seconds."""

    controller: Controller
    spent_s: list[float] = field(default_factory=list)

    def decide(self, observation: Observation) -> Decision:
        """Decide, and note the CPU seconds that it took."""
        began = time.thread_time()
        decision = self.controller.decide(observation)
        self.spent_s.append(time.thread_time() - began)
        return decision


@dataclass(slots=True)
class TimedAbandoningController(TimedController):
    """The same for a controller that may change its mind."""

    def reconsider(self, observation: Observation, flight: DownloadInFlight) -> int | None:
        """See AbandoningController."""
        assert isinstance(self.controller, AbandoningController)
        return self.controller.reconsider(observation, flight)


@dataclass(slots=True)
class TimedBatchController(TimedController):
    """The same for a controller that decides for several sessions at once: of each decision, one session's share."""

    def decide_batch(self, observations: Sequence[Observation]) -> Sequence[Decision]:
        """Decide for all, and note the CPU seconds that one of them took."""
        assert isinstance(self.controller, BatchController)
        began = time.thread_time()
        decisions = self.controller.decide_batch(observations)
        self.spent_s.append((time.thread_time() - began) / len(observations))
        return decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerResult:
    """One controller over all sets: the experience of each session, and the CPU time of decisions.

    switches: changes of rendition a minute of each session, set by set.
    spent_s: each decision's share when all sessions are decided for at once (value tables included), where the
    controller can do that. alone_s: of decisions for one session at a time, on some of the traces, once value tables
    are there.
    """

    benchmark: Benchmark
    sets: dict[str, list[Experience]]
    switches: dict[str, list[float]]
    spent_s: list[float]
    alone_s: list[float]
    failures: ControllerFailures

    def qoe(self, name: str) -> list[float]:
        """Of each session of a set."""
        return [experience.qoe * self.benchmark.point for experience in self.sets[name]]

    def mean_qoe(self, name: str) -> float:
        """Mean QoE over the traces of one set."""
        return float(np.mean(self.qoe(name)))

    def part(self, name: str, *, held: bool) -> list[float]:
        """QoE on the traces of a set that were held out from fitting, or on the others."""
        pairs = zip(self.benchmark.sets[name], self.qoe(name), strict=True)
        return [qoe for trace, qoe in pairs if held_out(trace) == held]

    @property
    def switches_over_sets(self) -> float:
        """Mean of the sets' mean switches a minute."""
        return float(np.mean([np.mean(switches) for switches in self.switches.values()]))

    @property
    def over_sets(self) -> float:
        """Mean of the sets' means: each set counts alike."""
        return float(np.mean([self.mean_qoe(name) for name in self.sets]))


def makers(profile: str) -> dict[str, Callable[[], Controller]]:
    """The registry; BONES leaves IMDN's slowest level out, as its published code does."""
    every = {name: CONTROLLERS.get(name) for name in CONTROLLERS}
    if profile.startswith("imdn"):
        bones = Bones(skip=("ultra",))
        every |= {"bones": lambda: bones, "bones_auto": lambda: BonesAuto(bones)}
        every |= {"bones_monitor": lambda: BonesMonitor(bones)}
        every |= {"bones_auto_monitor": lambda: BonesMonitor(BonesAuto(bones))}
    return every


def read_sets(folder: Path) -> dict[str, list[Trace]]:
    """`traces_<set>.json`, or a folder `traces_<set>`, in alphabetical order. Raises InputError when there is none."""
    files = sorted(path for path in folder.glob("traces_*") if path.is_dir() or path.suffix == ".json")
    if not files:
        raise InputError(f"{folder} holds no traces_*.json: give the folder of the benchmark's data with --data.")
    return {file.stem.removeprefix("traces_"): read_traces(file) for file in files}


def run(benchmark: Benchmark, controller: Controller) -> ControllerResult:
    """One controller over all traces, by the benchmark's rules (segment 0 lowest and plain, 60 s of buffer)."""
    prices, sets, timed = benchmark.prices, benchmark.sets, _timed(controller)
    every = [trace for traces in sets.values() for trace in traces]
    with quiet_guard():
        simulated = simulate_many(prices, every, timed, start_lowest=True)
    experiences, switches = iter(simulated.experiences), iter(simulated.switches_per_minute.tolist())
    sessions = {name: list(islice(experiences, len(traces))) for name, traces in sets.items()}
    alone = TimedController(controller)
    if isinstance(controller, BatchController):
        for trace in every[:: max(len(every) // ALONE, 1)]:
            simulate(prices, trace, alone, start_lowest=True)
    return ControllerResult(
        benchmark=benchmark,
        sets=sessions,
        switches={name: list(islice(switches, len(traces))) for name, traces in sets.items()},
        spent_s=timed.spent_s or [0.0],
        alone_s=alone.spent_s or timed.spent_s or [0.0],
        failures=ControllerFailures.of(simulated, start_lowest=True),
    )


def _timed(controller: Controller) -> TimedController:
    if isinstance(controller, AbandoningController):
        return TimedAbandoningController(controller)
    return TimedBatchController(controller) if isinstance(controller, BatchController) else TimedController(controller)


def interval(values: Sequence[float], seed: int = 1) -> tuple[float, float]:
    """95 % confidence interval of the mean, by bootstrap over traces."""
    data = np.asarray(values)
    picks = np.random.default_rng(seed).integers(0, len(data), (BOOTSTRAPS, len(data)))
    low, high = np.percentile(data[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def chosen_makers(names: str | None, profile: str, default: Sequence[str]) -> dict[str, Callable[[], Controller]]:
    """The controllers of a comma-separated list, of `all`, or the default ones. Raises UnknownNameError."""
    known = makers(profile)
    wanted = default if names is None else tuple(known) if names == "all" else tuple(names.split(","))
    for name in wanted:
        if name not in known and ".py:" not in name:
            raise UnknownNameError("controller", name, known)
    return {name: known[name] if name in known else partial(make_controller, name) for name in wanted}


def track_quietly(items: Collection[T], what: str) -> Iterable[T]:
    """The items, with a progress bar on stderr when that is a terminal."""
    return track(
        items, what, total=len(items), console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
    )

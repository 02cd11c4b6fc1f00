"""Where controllers are compared: a priced title, sets of traces, and what each controller reached on them."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from abr.control import Controller, Decision, Flight, Observation, WatchfulController
from abr.controllers import CONTROLLERS, make_controller
from abr.controllers.bones import Bones, BonesAuto, BonesMonitor
from abr.crowd import Crowd, CrowdController, Decisions
from abr.errors import InputError, UnknownNameError
from abr.lockstep import simulate_many
from abr.movies import classic_prices, load_benchmark
from abr.options import PriceList
from abr.qoe import Experience
from abr.simulate import simulate
from abr.traces import Trace, read_traces

BOOTSTRAPS = 2000
ALONE = 16
"""Traces on which decisions for one session at a time are timed."""
CLASSIC = "classic"
CLASSIC_POINT = 0.043
"""Mbit/s that a point of quality stands for in classic mode: there QoE is Pensieve's QoE_lin (see abr.movies)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """profile: what `enhance_<profile>.json` priced, or CLASSIC. point: what QoE is multiplied by."""

    profile: str
    prices: PriceList
    sets: dict[str, list[Trace]]
    point: float = 1.0


def benchmark_arena(folder: Path, profile: str, scaled: Sequence[str] = ()) -> Arena:
    """The benchmark's movie and traces. scaled: `SET=FACTOR` adds that set with all throughputs multiplied."""
    sets = read_sets(folder)
    for wish in scaled:
        name, _, factor = wish.partition("=")
        if name not in sets:
            raise UnknownNameError("trace set", name, sets)
        try:
            by = float(factor)
            sets[f"{name}×{by:g}"] = [trace.scaled(by, trace.name) for trace in sets[name]]
        except ValueError as error:
            raise InputError(f"{wish!r} does not scale a trace set; give it as {name}=0.1.") from error
    return Arena(profile=profile, prices=load_benchmark(folder, profile), sets=sets)


def classic_arena(folder: Path) -> Arena:
    """Pensieve's six rates without enhancement; every folder of traces in `folder` is a set."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if not folders:
        raise InputError(f"{folder} holds no folders of traces: give a folder of them with --data.")
    sets = {path.name: read_traces(path) for path in folders}
    return Arena(profile=CLASSIC, prices=classic_prices(), sets=sets, point=CLASSIC_POINT)


def held_out(trace: Trace) -> bool:
    """Whether the trace belongs to the third, by a hash of its name, that no constant of ours was fitted on."""
    return int(hashlib.sha256(trace.name.encode()).hexdigest(), 16) % 3 == 0


@dataclass(slots=True)
class Timed:
    """Passes on to a controller and keeps the CPU time of each decision, in seconds."""

    controller: Controller
    spent_s: list[float] = field(default_factory=list)

    def decide(self, seen: Observation) -> Decision:
        began = time.thread_time()
        decision = self.controller.decide(seen)
        self.spent_s.append(time.thread_time() - began)
        return decision


@dataclass(slots=True)
class TimedWatch(Timed):
    """The same for a controller that may change its mind."""

    def reconsider(self, seen: Observation, flight: Flight) -> int | None:
        assert isinstance(self.controller, WatchfulController)
        return self.controller.reconsider(seen, flight)


@dataclass(slots=True)
class TimedMany(Timed):
    """The same for a controller that decides for a crowd: of each such decision, one session's share."""

    def decide_many(self, seen: Crowd) -> Decisions:
        assert isinstance(self.controller, CrowdController)
        began = time.thread_time()
        decisions = self.controller.decide_many(seen)
        self.spent_s.append((time.thread_time() - began) / len(seen.buffer_s))
        return decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One controller over all sets: the experience of each session, and the CPU time of decisions.

    spent_s: each decision's share when whole crowds decide together (planning included), where the controller can do
    that. alone_s: of decisions for one session at a time, on some of the traces, once plans are made.
    """

    arena: Arena
    sets: dict[str, list[Experience]]
    spent_s: list[float]
    alone_s: list[float]

    def qoe(self, name: str) -> list[float]:
        """Of each session of a set."""
        return [experience.qoe * self.arena.point for experience in self.sets[name]]

    def mean_qoe(self, name: str) -> float:
        return float(np.mean(self.qoe(name)))

    def part(self, name: str, *, held: bool) -> list[float]:
        """QoE on the traces of a set that were held out from fitting, or on the others."""
        pairs = zip(self.arena.sets[name], self.qoe(name), strict=True)
        return [qoe for trace, qoe in pairs if held_out(trace) == held]

    @property
    def over_sets(self) -> float:
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


def run(arena: Arena, controller: Controller) -> Result:
    """One controller over all traces, by the benchmark's rules (segment 0 lowest and plain, 60 s of buffer)."""
    prices, sets, timed = arena.prices, arena.sets, _timed(controller)
    every = [trace for traces in sets.values() for trace in traces]
    experiences = iter(simulate_many(prices, every, timed, start_lowest=True).experiences)
    sessions = {name: list(islice(experiences, len(traces))) for name, traces in sets.items()}
    alone = Timed(controller)
    if isinstance(controller, CrowdController):
        for trace in every[:: max(len(every) // ALONE, 1)]:
            simulate(prices, trace, alone, start_lowest=True)
    return Result(arena=arena, sets=sessions, spent_s=timed.spent_s, alone_s=alone.spent_s or timed.spent_s)


def _timed(controller: Controller) -> Timed:
    if isinstance(controller, WatchfulController):
        return TimedWatch(controller)
    return TimedMany(controller) if isinstance(controller, CrowdController) else Timed(controller)


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

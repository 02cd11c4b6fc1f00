"""`toprung bench abr`: every controller on every trace set of a folder, against the offline optimum."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from abr.control import Controller, Decision, Flight, Observation, WatchfulController
from abr.controllers import CONTROLLERS, make_controller
from abr.controllers.bones import Bones, BonesAuto, BonesMonitor
from abr.crowd import Crowd, CrowdController, Decisions
from abr.errors import InputError, UnknownNameError
from abr.formats import dumps_pretty
from abr.lockstep import simulate_many
from abr.movies import load_benchmark
from abr.optimum import optimum
from abr.options import PriceList
from abr.plots import cdf_panels
from abr.qoe import Experience
from abr.simulate import simulate
from abr.traces import Trace, read_traces

PUBLISHED = (
    "toprung",
    "bones",
    "bones_auto",
    "dynamic_greedy",
    "throughput_greedy",
    "bola_greedy",
    "bba_greedy",
    "mpc_greedy",
)
BOOTSTRAPS = 2000
ALONE = 16
"""Traces on which decisions for one session at a time are timed."""

T = TypeVar("T")


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

    sets: dict[str, list[Experience]]
    spent_s: list[float]
    alone_s: list[float]

    def mean_qoe(self, name: str) -> float:
        return float(np.mean([experience.qoe for experience in self.sets[name]]))

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
    """`traces_<set>.json` of a folder, in alphabetical order. Raises InputError when there is none."""
    files = sorted(folder.glob("traces_*.json"))
    if not files:
        raise InputError(f"{folder} holds no traces_*.json: give the folder of the benchmark's data with --data.")
    return {file.stem.removeprefix("traces_"): read_traces(file) for file in files}


def run(prices: PriceList, sets: Mapping[str, Sequence[Trace]], controller: Controller) -> Result:
    """One controller over all traces, by the benchmark's rules (segment 0 lowest and plain, 60 s of buffer)."""
    timed = _timed(controller)
    every = [trace for traces in sets.values() for trace in traces]
    experiences = iter(simulate_many(prices, every, timed, start_lowest=True).experiences)
    sessions = {name: list(islice(experiences, len(traces))) for name, traces in sets.items()}
    alone = Timed(controller)
    if isinstance(controller, CrowdController):
        for trace in every[:: max(len(every) // ALONE, 1)]:
            simulate(prices, trace, alone, start_lowest=True)
    return Result(sets=sessions, spent_s=timed.spent_s, alone_s=alone.spent_s or timed.spent_s)


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


data_option = click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with video_*.json, enhance_*.json and traces_*.json.",
)
profile_option = click.option(
    "--profile", default="imdn_bbb_3060ti", show_default=True, help="enhance_<profile>.json is used."
)


@click.command()
@data_option
@profile_option
@click.option("--controllers", help=f"Comma-separated names, `all`, or files. Default: {','.join(PUBLISHED)}.")
@click.option("--no-optimum", is_flag=True, help="Leave the slow offline optimum out.")
@click.option(
    "--beam", default=1500, show_default=True, type=click.IntRange(10), help="Effort of the optimum's search."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the distribution of QoE as .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_abr(
    folder: Path, profile: str, controllers: str | None, no_optimum: bool, beam: int, plot: Path | None, as_json: bool
) -> None:
    """Every controller on every trace set, against the offline optimum."""
    prices, sets = load_benchmark(folder, profile), read_sets(folder)
    chosen = chosen_makers(controllers, profile, PUBLISHED)
    results = {name: run(prices, sets, make()) for name, make in track_quietly(chosen.items(), "controllers")}
    best = None if no_optimum else _optimum(prices, sets, beam)
    report = summary(profile, results, best)
    if plot is not None:
        panels = {
            name: {controller: [e.qoe for e in result.sets[name]] for controller, result in results.items()}
            for name in sets
        }
        plot.write_text(cdf_panels(panels, axis="QoE"), encoding="utf-8")
    if as_json:
        sys.stdout.write(dumps_pretty(report).decode())
    else:
        _show(results, best, report)


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


def _optimum(prices: PriceList, sets: Mapping[str, Sequence[Trace]], beam: int) -> dict[str, list[float]]:
    every = [(name, trace) for name, traces in sets.items() for trace in traces]
    found: dict[str, list[float]] = {name: [] for name in sets}
    for name, trace in track_quietly(every, "optimum"):
        found[name].append(optimum(prices, trace, beam=beam).qoe)
    return found


def summary(
    profile: str, results: Mapping[str, Result], best: Mapping[str, Sequence[float]] | None
) -> dict[str, object]:
    """The JSON report."""
    report: dict[str, object] = {"profile": profile, "controllers": {n: _figures(r) for n, r in results.items()}}
    if best is not None:
        means = {name: float(np.mean(values)) for name, values in best.items()}
        top = float(np.mean(list(means.values())))
        report["optimum"] = {
            "sets": {name: {"n": len(best[name]), "qoe": qoe} for name, qoe in means.items()},
            "mean_qoe": top,
        }
        if "toprung" in results and "bones" in results:
            bones = results["bones"].over_sets
            report["gap_closed"] = (results["toprung"].over_sets - bones) / (top - bones)
            report["gap_closed_sets"] = {
                name: (results["toprung"].mean_qoe(name) - results["bones"].mean_qoe(name))
                / max(means[name] - results["bones"].mean_qoe(name), 1e-9)
                for name in means
            }
    return report


def _figures(result: Result) -> dict[str, object]:
    spent_ms, alone_ms = np.asarray(result.spent_s) * 1e3, np.asarray(result.alone_s) * 1e3
    return {
        "sets": {
            name: {
                "n": len(sessions),
                "qoe": result.mean_qoe(name),
                "qoe_95": interval([session.qoe for session in sessions]),
                "vmaf": float(np.mean([session.vmaf for session in sessions])),
                "oscillation": float(np.mean([session.oscillation for session in sessions])),
                "stall_s": float(np.mean([session.stall_s for session in sessions])),
            }
            for name, sessions in result.sets.items()
        },
        "mean_qoe": result.over_sets,
        "decision_ms_p99": float(np.percentile(spent_ms, 99)),
        "decision_ms_mean": float(spent_ms.mean()),
        "decision_ms_max": float(spent_ms.max()),
        "alone_ms_p99": float(np.percentile(alone_ms, 99)),
        "alone_ms_mean": float(alone_ms.mean()),
    }


def _show(
    results: Mapping[str, Result], best: Mapping[str, Sequence[float]] | None, report: Mapping[str, object]
) -> None:
    names = list(next(iter(results.values())).sets)
    table = Table(
        "controller",
        *names,
        "mean QoE",
        "decision ms",
        "p99",
        "alone ms",
        "p99",
        title=f"QoE, profile {report['profile']}",
    )
    for name, result in sorted(results.items(), key=lambda item: -item[1].over_sets):
        cells = []
        for trace_set in names:
            low, high = interval([session.qoe for session in result.sets[trace_set]])
            cells.append(f"{result.mean_qoe(trace_set):.2f} [{low:.1f}, {high:.1f}]")
        times_ms = [np.asarray(spent_s) * 1e3 for spent_s in (result.spent_s, result.alone_s)]
        table.add_row(
            name.rpartition("/")[2],
            *cells,
            f"{result.over_sets:.2f}",
            *(f"{figure:.3f}" for spent_ms in times_ms for figure in (spent_ms.mean(), np.percentile(spent_ms, 99))),
        )
    if best is not None:
        means = [float(np.mean(best[trace_set])) for trace_set in names]
        table.add_row("offline optimum ≥", *(f"{mean:.2f}" for mean in means), f"{np.mean(means):.2f}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if "gap_closed" in report:
        print(f"toprung closes {report['gap_closed']:.0%} of the gap between BONES and the offline optimum.")

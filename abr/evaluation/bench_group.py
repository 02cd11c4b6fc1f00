"""`toprung bench group`: viewers on one link, decided together, decided alone, and with dash.js's own rule."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from abr.controllers.dynamic import Dynamic
from abr.controllers.toprung.bottleneck import Bottleneck
from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.plan_library import WINDOW, PlanLibrary
from abr.core.arrays import Floats
from abr.core.control import Observation
from abr.core.options import PriceList
from abr.evaluation.benchmark import track_quietly
from abr.records import dumps_pretty
from abr.simulation.benchmark_data import load_benchmark, load_title
from abr.simulation.group_simulator import Alone, Decider, PacedDecision, Viewer, simulate_group
from abr.simulation.simulated_player import Session
from abr.simulation.trace_formats import read_traces
from abr.simulation.traces import Trace

ARRIVALS_S = 60.0
"""Viewers come within this time."""
LATENCY_S = (0.01, 0.1)
"""Of each viewer's own way, beside the link's."""
STEP_S = 1.0
"""How often the fairness among those who watch is looked at."""
HOURS_MAX_S = 7200.0


@dataclass(frozen=True, slots=True)
class Together:
    """All viewers behind one bottleneck."""

    bottleneck: Bottleneck

    def decide(self, viewer: int, observation: Observation, now_s: float) -> PacedDecision:
        """See Decider."""
        return PacedDecision(self.bottleneck.decide(viewer, observation, now_s))


@click.command()
@click.argument("titles", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the benchmark's data: its movie too, on devices of the profiles.",
)
@click.option("--profile", "profiles", multiple=True, help="enhance_<profile>.json of --data; repeatable.")
@click.option(
    "--trace",
    "paths",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Trace file of the link, or a folder of them; repeatable.",
)
@click.option("--viewers", default=12, show_default=True, type=click.IntRange(1, 64))
@click.option("--seconds", default=300, show_default=True, type=click.IntRange(30, 3600), help="What each watches.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1, 100), help="Draws for each trace.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_group(
    titles: tuple[Path, ...],
    data: Path | None,
    profiles: tuple[str, ...],
    paths: tuple[Path, ...],
    viewers: int,
    seconds: int,
    seeds: int,
    as_json: bool,
) -> None:
    """Viewers on one link: decided together, decided alone, and by dash.js's rule.

    TITLES are title folders or Sabre movies; viewers take them in turn, and short ones are played over again. The
    order of titles, arrivals, latencies and the part of the trace are drawn anew for each seed.
    """
    offers = [load_title(path) for path in titles]
    offers += [load_benchmark(data, profile) for profile in profiles] if data else []
    if not offers:
        raise click.UsageError("Nothing to watch: give a title, or --data with --profile.")
    offers = [played_for(prices, seconds) for prices in offers]
    deciders = make_deciders(offers)
    figures: dict[str, dict[str, list[Floats]]] = {}
    traces = [trace for path in paths for trace in read_traces(path)]
    for trace in track_quietly(traces, "traces"):
        rows = figures.setdefault(trace.name, {name: [] for name in deciders})
        for seed in range(1, seeds + 1):
            those, link = draw(offers, trace, viewers, seed)
            for name, make in deciders.items():
                rows[name].append(measure(those, simulate_group(those, link, make())))
    _show(figures, as_json)


def played_for(prices: PriceList, seconds: float) -> PriceList:
    """The title's first segments for so long; from the start again where it is shorter."""
    rows = np.arange(max(1, round(seconds / float(prices.duration_s.mean())))) % len(prices.duration_s)
    tables = ("duration_s", "size_bytes", "compute_s", "lead_s", "quality", "vmaf")
    return replace(prices, **{name: getattr(prices, name)[rows] for name in tables})


def make_deciders(offers: Sequence[PriceList]) -> dict[str, Callable[[], Decider]]:
    """By name what makes a fresh one. Toprung's plans are made here, for all titles."""
    plans = PlanLibrary()
    for prices in track_quietly(offers, "plans"):
        for segment in range(0, len(prices.duration_s), WINDOW):
            plans.plan(prices, segment, np.zeros(len(prices.choices)), Viewer(prices=prices).buffer_max_s)
    toprung = Toprung(plans=plans)
    return {
        "toprung, together": lambda: Together(Bottleneck(toprung)),
        "toprung, alone": lambda: Alone(toprung),
        "dash.js's Dynamic": lambda: Alone(Dynamic()),
    }


def draw(offers: Sequence[PriceList], trace: Trace, viewers: int, seed: int) -> tuple[list[Viewer], Trace]:
    """Who comes when, and the part of the trace."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(offers))
    starts_s, latencies_s = random.uniform(0, ARRIVALS_S, viewers), random.uniform(*LATENCY_S, viewers)
    those = [
        Viewer(prices=offers[order[i % len(offers)]], start_s=float(starts_s[i]), latency_s=float(latencies_s[i]))
        for i in range(viewers)
    ]
    return those, trace.begun_at(float(random.uniform(0, trace.length_s)))


FIGURES = ("QoE", "worst QoE", "VMAF", "Jain, sessions", "Jain, seconds", "oscillation", "switches/min", "stall s")


def measure(viewers: Sequence[Viewer], sessions: Sequence[Session]) -> Floats:
    """The FIGURES of one draw. Means over viewers, but for the worst and for Jain's indices of VMAF.

    One index is of their sessions' means. The other is taken each second over those who watch, a stalled one seeing
    nothing, and averaged (as in FESTIVE, Jiang et al., CoNEXT 2012).
    """
    vmaf = [np.array([s.prices.vmaf[i, step.shown] for i, step in enumerate(s.steps)]) for s in sessions]
    experiences = [session.experience for session in sessions]
    switches = [
        np.count_nonzero(np.diff([s.prices.choices[step.shown].rendition for step in s.steps]))
        / max(float(s.prices.duration_s.sum()) / 60, 1e-9)
        for s in sessions
    ]
    seen = np.array([_seen(*each) for each in zip(viewers, sessions, vmaf, strict=True)])
    return np.array(
        [
            np.mean([each.qoe for each in experiences]),
            np.min([each.qoe for each in experiences]),
            np.mean([each.mean() for each in vmaf]),
            jain(np.array([each.mean() for each in vmaf])),
            np.mean([jain(at[~np.isnan(at)]) for at in seen.T if (~np.isnan(at)).sum() > 1]),
            np.mean([each.oscillation for each in experiences]),
            np.mean(switches),
            np.mean([each.stall_s for each in experiences]),
        ]
    )


def _seen(viewer: Viewer, session: Session, vmaf: Floats) -> Floats:
    """VMAF that a viewer sees at each step of the clock of all: 0 while it stalls, NaN before and after it watches."""
    clock_s = np.arange(0.0, HOURS_MAX_S, STEP_S)
    starts_s = viewer.start_s + np.array([step.starts_s for step in session.steps])
    segment = np.searchsorted(starts_s, clock_s, side="right") - 1
    is_shown = clock_s < starts_s[segment] + session.prices.duration_s[segment]
    is_over = (segment == len(starts_s) - 1) & ~is_shown
    return np.where((segment < 0) | is_over, np.nan, np.where(is_shown, vmaf[segment], 0.0))


def jain(values: Floats) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/N when one has all; 1 when nobody has anything."""
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / (len(values) * squares) if squares else 1.0


def _show(figures: dict[str, dict[str, list[Floats]]], as_json: bool) -> None:
    if as_json:
        report = {
            trace: {
                name: {
                    figure: {"mean": float(column.mean()), "sd": float(column.std())}
                    for figure, column in zip(FIGURES, np.array(draws).T, strict=True)
                }
                for name, draws in rows.items()
            }
            for trace, rows in figures.items()
        }
        sys.stdout.write(dumps_pretty(report).decode())
        return
    table = Table("trace", "decided by", *FIGURES)
    for trace, rows in figures.items():
        for name, draws in rows.items():
            means, spread = np.mean(draws, axis=0), np.std(draws, axis=0)
            cells = [
                f"{mean:.3f}" if "Jain" in what else f"{mean:.1f}" for what, mean in zip(FIGURES, means, strict=True)
            ]
            cells[0] += f" ±{spread[0]:.1f}"
            table.add_row(trace, name, *cells)
    Console(width=None if sys.stdout.isatty() else 160).print(table)

"""`toprung bench abr`: every controller on every trace set of a folder, against the offline optimum."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from abr.evaluation.benchmark import (
    Benchmark,
    ControllerResult,
    chosen_makers,
    in_opinions,
    interval,
    read_benchmark,
    read_classic_benchmark,
    run,
    track_quietly,
)
from abr.evaluation.compare import qoe_option
from abr.evaluation.controller_failures import raise_for_failures
from abr.evaluation.plots import cdf_panels
from abr.files import write_file
from abr.opinions.fitted import load_qoe
from abr.records import dumps_pretty
from abr.simulation.offline_optimum import optimum

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
WITHOUT_ENHANCEMENT = ("toprung", "mpc", "dynamic", "bola", "bola_e", "throughput", "bba")

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
@click.option(
    "--classic", is_flag=True, help="No enhancement, Pensieve's rates and QoE_lin; DIR holds folders of traces."
)
@click.option("--scaled", multiple=True, metavar="SET=FACTOR", help="Add a set with its throughput scaled; repeatable.")
@click.option("--controllers", help=f"Comma-separated names, `all`, or files. Default: {','.join(PUBLISHED)}.")
@click.option("--no-optimum", is_flag=True, help="Leave the slow offline optimum out.")
@click.option(
    "--beam", default=1500, show_default=True, type=click.IntRange(10), help="Effort of the optimum's search."
)
@qoe_option
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the distribution of QoE as .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_abr(
    folder: Path,
    profile: str,
    classic: bool,
    scaled: tuple[str, ...],
    controllers: str | None,
    no_optimum: bool,
    beam: int,
    qoe_file: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Every controller on every trace set, against the offline optimum.

    Segment 0 is the lowest rung for all, as published benchmarks have it: no controller is asked.
    """
    benchmark = read_classic_benchmark(folder) if classic else read_benchmark(folder, profile, scaled)
    if qoe_file is not None:
        benchmark = in_opinions(benchmark, load_qoe(qoe_file))
    chosen = chosen_makers(controllers, benchmark.profile, WITHOUT_ENHANCEMENT if classic else PUBLISHED)
    results = {name: run(benchmark, make()) for name, make in track_quietly(chosen.items(), "controllers")}
    best = None if no_optimum else _optimum(benchmark, beam)
    report = summary(benchmark, results, best)
    if as_json:
        sys.stdout.write(dumps_pretty(report).decode())
    else:
        _show(results, best, report)
    if plot is not None:
        panels = {
            name: {controller: result.qoe(name) for controller, result in results.items()} for name in benchmark.sets
        }
        write_file(plot, cdf_panels(panels, axis="QoE").encode())
    raise_for_failures({name: result.failures for name, result in results.items()})


def _optimum(benchmark: Benchmark, beam: int) -> dict[str, list[float]]:
    every = [(name, trace) for name, traces in benchmark.sets.items() for trace in traces]
    qoe: dict[str, list[float]] = {name: [] for name in benchmark.sets}
    for name, trace in track_quietly(every, "optimum"):
        qoe[name].append(optimum(benchmark.prices, trace, beam=beam).qoe * benchmark.point)
    return qoe


def summary(
    benchmark: Benchmark, results: Mapping[str, ControllerResult], best: Mapping[str, Sequence[float]] | None
) -> dict[str, object]:
    """The JSON report."""
    report: dict[str, object] = {
        "profile": benchmark.profile,
        "controllers": {n: _figures(r) for n, r in results.items()},
    }
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


def _figures(result: ControllerResult) -> dict[str, object]:
    spent_ms, alone_ms = np.asarray(result.spent_s) * 1e3, np.asarray(result.alone_s) * 1e3
    return {
        "sets": {
            name: {
                "n": len(sessions),
                "qoe": result.mean_qoe(name),
                "qoe_95": interval(result.qoe(name)),
                "fitted": _part(result.part(name, held=False)),
                "held_out": _part(result.part(name, held=True)),
                "vmaf": float(np.mean([session.quality for session in sessions])),
                "oscillation": float(np.mean([session.oscillation for session in sessions])),
                "stall_s": float(np.mean([session.stall_s for session in sessions])),
                "switches_per_minute": float(np.mean(result.switches[name])),
            }
            for name, sessions in result.sets.items()
        },
        "mean_qoe": result.over_sets,
        "switches_per_minute": result.switches_over_sets,
        "failures": result.failures.failures,
        "decision_ms_p99": float(np.percentile(spent_ms, 99)),
        "decision_ms_mean": float(spent_ms.mean()),
        "decision_ms_max": float(spent_ms.max()),
        "alone_ms_p99": float(np.percentile(alone_ms, 99)),
        "alone_ms_mean": float(alone_ms.mean()),
    }


def _part(qoe: Sequence[float]) -> dict[str, float | None]:
    return {"n": len(qoe), "qoe": float(np.mean(qoe)) if qoe else None}


def _show(
    results: Mapping[str, ControllerResult], best: Mapping[str, Sequence[float]] | None, report: Mapping[str, object]
) -> None:
    names = list(next(iter(results.values())).sets)
    table = Table(
        "controller",
        *names,
        "mean QoE",
        "switches/min",
        "decision ms",
        "p99",
        "alone ms",
        "p99",
        title=f"QoE, profile {report['profile']}",
    )
    for name, result in sorted(results.items(), key=lambda item: -item[1].over_sets):
        cells = []
        for trace_set in names:
            low, high = interval(result.qoe(trace_set))
            cells.append(f"{result.mean_qoe(trace_set):.2f} [{low:.1f}, {high:.1f}]")
        times_ms = [np.asarray(spent_s) * 1e3 for spent_s in (result.spent_s, result.alone_s)]
        table.add_row(
            name.rpartition("/")[2],
            *cells,
            f"{result.over_sets:.2f}",
            f"{result.switches_over_sets:.2f}",
            *(f"{figure:.3f}" for spent_ms in times_ms for figure in (spent_ms.mean(), np.percentile(spent_ms, 99))),
        )
    if best is not None:
        means = [float(np.mean(best[trace_set])) for trace_set in names]
        table.add_row("offline optimum ≥", *(f"{mean:.2f}" for mean in means), f"{np.mean(means):.2f}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if "gap_closed" in report:
        click.echo(f"toprung closes {report['gap_closed']:.0%} of the gap between BONES and the offline optimum.")

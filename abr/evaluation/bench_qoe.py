"""`toprung bench qoe`: controllers that plan in the points of a QoE learnt from people, against the same on VMAF.

Both play the same traces, and both are judged by the learnt QoE, and by VMAF beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from abr.core.arrays import Floats
from abr.core.options import PriceList
from abr.errors import InputError
from abr.evaluation.bench_abr import data_option, profile_option
from abr.evaluation.benchmark import chosen_makers, held_out, interval, read_benchmark, track_quietly
from abr.evaluation.controller_failures import ControllerFailures, quiet_guard, raise_for_failures
from abr.opinions.evaluation import paired_p
from abr.opinions.fitted import load_qoe
from abr.opinions.scales import in_points, list_scale
from abr.records import dumps_pretty
from abr.simulation.batch_simulator import Sessions, simulate_many
from abr.simulation.trace_formats import read_traces
from abr.simulation.traces import Trace

CONTROLLERS = ("toprung", "bones", "mpc_greedy")
EVERY = "all sets"


class PlanFigures(msgspec.Struct, frozen=True):
    """Sessions planned one way. qoe: by the learnt QoE. vmaf_qoe: by the same form over VMAF."""

    qoe: float
    points: float
    change: float
    stall_s: float
    vmaf_qoe: float
    mbytes: float


class QoeGain(msgspec.Struct, frozen=True):
    """A controller on a set of traces. gain: planned on the learnt QoE less planned on VMAF, judged by the learnt one.

    gain_95: its interval, by bootstrap over traces. p: two-sided, signs of traces flipped at random. vmaf_gain: the
    same judged over VMAF.
    """

    traces: str
    sessions: int
    controller: str
    on_vmaf: PlanFigures
    on_opinions: PlanFigures
    gain: float
    gain_95: tuple[float, float]
    p: float
    vmaf_gain: float


def measure_gains(
    on_vmaf: PriceList, on_opinions: PriceList, sets: dict[str, list[Trace]], controllers: Sequence[str], profile: str
) -> tuple[list[QoeGain], dict[str, ControllerFailures]]:
    """Each controller on each set, and on all of them, and how often controllers failed."""
    gains: list[QoeGain] = []
    failures: dict[str, ControllerFailures] = {}
    for name, make in track_quietly(list(chosen_makers(",".join(controllers), profile, ()).items()), "controllers"):
        traces = [trace for each in sets.values() for trace in each]
        with quiet_guard():
            played = [simulate_many(prices, traces, make(), start_lowest=True) for prices in (on_vmaf, on_opinions)]
        failures |= {
            f"{name} on {what}": ControllerFailures.of(each, start_lowest=True)
            for what, each in zip(("VMAF", "opinions"), played, strict=True)
        }
        table = [_judged(each, on_vmaf, on_opinions) for each in played]
        for label, rows in _rows(sets):
            gains.append(_gain(label, name, table[0][rows], table[1][rows]))
    return gains, failures


def _rows(sets: dict[str, list[Trace]]) -> Iterator[tuple[str, Floats]]:
    """Which sessions are of which set, as truths."""
    owner = np.array([name for name, traces in sets.items() for _ in traces])
    for name in sets:
        yield name, owner == name
    yield EVERY, np.ones(len(owner), dtype=bool)


def _judged(sessions: Sessions, on_vmaf: PriceList, on_opinions: PriceList) -> Floats:
    """(M, 6) PlanFigures of each session."""
    opinions = replace(sessions, prices=on_opinions).experiences
    vmaf = replace(sessions, prices=on_vmaf).experiences
    return np.array(
        [
            (own.qoe, own.quality, own.oscillation, own.stall_s, other.qoe, size / 1e6)
            for own, other, size in zip(opinions, vmaf, sessions.size_bytes, strict=True)
        ]
    )


def _gain(traces: str, controller: str, on_vmaf: Floats, on_opinions: Floats) -> QoeGain:
    added = on_opinions - on_vmaf
    return QoeGain(
        traces=traces,
        sessions=len(added),
        controller=controller,
        on_vmaf=PlanFigures(*on_vmaf.mean(axis=0).tolist()),
        on_opinions=PlanFigures(*on_opinions.mean(axis=0).tolist()),
        gain=float(added[:, 0].mean()),
        gain_95=interval(added[:, 0].tolist()),
        p=paired_p(added[:, 0]),
        vmaf_gain=float(added[:, 4].mean()),
    )


@click.command("qoe", context_settings={"show_default": True})
@data_option
@profile_option
@click.option(
    "--qoe",
    "qoe_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A QoE learnt from people (`toprung qoe fit`).",
)
@click.option(
    "--heights", help="Of the data's pictures from the lowest rung up, such as 240,360.  [default: not known]"
)
@click.option(
    "--traces",
    "folders",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A further set of traces: a file, or a folder of them; repeatable.",
)
@click.option("--scaled", multiple=True, metavar="SET=FACTOR", help="Add a set with its throughput scaled; repeatable.")
@click.option(
    "--held-out", "only_held", is_flag=True, help="Of the data's own sets only what was held out from fitting."
)
@click.option("--controllers", default=",".join(CONTROLLERS), help="Comma-separated names.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_qoe(
    folder: Path,
    profile: str,
    qoe_file: Path,
    heights: str | None,
    folders: tuple[Path, ...],
    scaled: tuple[str, ...],
    only_held: bool,
    controllers: str,
    as_json: bool,
) -> None:
    """Controllers planned on a QoE learnt from people against the same planned on VMAF, judged by the learnt one.

    Segment 0 is the lowest rung for all, as published benchmarks have it.
    """
    benchmark = read_benchmark(folder, profile, scaled)
    sets = benchmark.sets
    if only_held:
        sets = {name: kept for name, traces in sets.items() if (kept := [each for each in traces if held_out(each)])}
    for path in folders:
        sets[path.stem if path.stem not in sets else f"{path.stem} of {path.parent.name}"] = read_traces(path)
    scale = list_scale(load_qoe(qoe_file), benchmark.prices, _heights(heights))
    on_opinions = in_points(benchmark.prices, scale)
    gains, failures = measure_gains(benchmark.prices, on_opinions, sets, controllers.split(","), profile)
    if as_json:
        sys.stdout.write(dumps_pretty(gains).decode())
    else:
        _show(gains)
    raise_for_failures(failures)


def _heights(text: str | None) -> tuple[float, ...]:
    found = [each.strip() for each in text.split(",")] if text else []
    for each in found:
        if not each.isascii() or not each.isdigit() or not 0 < int(each) <= 10_000:
            raise InputError(f"{each[:20]!r} is no height of a picture; give pixels, such as 240,360.")
    return tuple(map(float, found))


def _show(gains: Sequence[QoeGain]) -> None:
    table = Table(
        *("controller", "traces", "sessions", "QoE, planned on VMAF → on opinions", "gain", "p"),
        *("points", "change", "stall s", "by VMAF", "MB"),
    )
    for each in gains:
        low, high = each.gain_95
        pairs = [
            f"{before:.2f} → {after:.2f}"
            for before, after in zip(
                msgspec.structs.astuple(each.on_vmaf), msgspec.structs.astuple(each.on_opinions), strict=True
            )
        ]
        cells = [pairs[0], f"{each.gain:+.2f} [{low:.2f}, {high:.2f}]", f"{each.p:.4f}"]
        table.add_row(each.controller, each.traces, str(each.sessions), *cells, *pairs[1:])
    Console(width=None if sys.stdout.isatty() else 190).print(table)

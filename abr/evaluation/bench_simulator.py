"""`toprung bench simulator`: sessions a second in lockstep, one by one, and in a Sabre-style event loop."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from abr.controllers import HORIZON
from abr.core.control import Controller
from abr.core.options import PriceList, menu_of
from abr.core.qoe import experience
from abr.errors import InputError
from abr.evaluation.bench_abr import data_option, profile_option
from abr.evaluation.benchmark import chosen_makers, read_benchmark, track_quietly
from abr.records import dumps_pretty
from abr.simulation.batch_simulator import simulate_many
from abr.simulation.reference_simulator import play
from abr.simulation.simulator import simulate
from abr.simulation.trace_formats import dumps_sabre
from abr.simulation.traces import Trace

CONTROLLERS = ("throughput", "bola", "dynamic", "bones", "toprung")
SABRES = ("throughput", "bola", "dynamic")
"""Controllers that sabre.py has under the same name."""

T = TypeVar("T")


class SimulatorSpeed(msgspec.Struct, frozen=True):
    """Sessions a second of one controller (CPU time of one core), and how far the two simulators' QoE lie apart."""

    lockstep: float
    alone: float
    event_loop: float
    ratio: float
    qoe_difference: float
    sabre: float | None = None
    ratio_sabre: float | None = None


def timed(run: Callable[[], T], rounds: int) -> tuple[T, float]:
    """The result and the least CPU seconds of several rounds, after one that does not count."""
    result, spent_s = run(), []
    for _ in range(rounds):
        began = time.thread_time()
        run()
        spent_s.append(time.thread_time() - began)
    return result, min(spent_s)


def speed(
    prices: PriceList,
    traces: Sequence[Trace],
    make: Callable[[], Controller],
    *,
    sample: int,
    rounds: int,
    sabre: Callable[[Trace], None] | None = None,
) -> SimulatorSpeed:
    """Time one controller. In lockstep go all traces; the slow ways take `sample` of them, spread evenly."""
    few = [traces[i] for i in np.linspace(0, len(traces) - 1, min(sample, len(traces))).astype(int)]
    menus = [menu_of(prices, segment, HORIZON, frozenset()) for segment in range(len(prices.duration_s))]
    _, lockstep_s = timed(lambda: simulate_many(prices, traces, make()), rounds)
    _, alone_s = timed(lambda: [simulate(prices, trace, make()) for trace in few], rounds)
    played, loop_s = timed(lambda: [play(prices, trace, make(), 60.0, menus) for trace in few], rounds)
    ours = simulate_many(prices, few, make()).experiences
    theirs = [experience(vmaf, stall_s) for vmaf, stall_s in played]
    sabre_s = timed(lambda: [sabre(trace) for trace in few], rounds)[1] if sabre else None
    lockstep = len(traces) / lockstep_s
    return SimulatorSpeed(
        lockstep=lockstep,
        alone=len(few) / alone_s,
        event_loop=len(few) / loop_s,
        ratio=lockstep / (len(few) / loop_s),
        qoe_difference=max(abs(a.qoe - b.qoe) for a, b in zip(ours, theirs, strict=True)),
        sabre=len(few) / sabre_s if sabre_s else None,
        ratio_sabre=lockstep / (len(few) / sabre_s) if sabre_s else None,
    )


class Sabre:
    """The user's copy of sabre.py, compiled once and run inside this process on the same movie and traces."""

    def __init__(self, path: Path, folder: Path, movie: Path) -> None:
        self._path, self._folder, self._movie = path, folder, movie
        try:
            self._code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{path} is no Python program that can be run: {error}.") from error

    def runner(self, controller: str) -> Callable[[Trace], None]:
        """A function that plays one trace with a controller of Sabre's."""

        def run(trace: Trace) -> None:
            file = self._folder / f"{abs(hash(trace.name))}.json"
            if not file.exists():
                file.write_text(dumps_sabre(trace), encoding="utf-8")
            words = ["sabre.py", "-m", str(self._movie), "-n", str(file), "-a", controller, "-b", "60"]
            argv, sys.argv = sys.argv, words
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(self._code, {"__name__": "__main__", "__file__": str(self._path)})
            finally:
                sys.argv = argv

        return run


@click.command()
@data_option
@profile_option
@click.option("--controllers", help=f"Comma-separated names. Default: {','.join(CONTROLLERS)}.")
@click.option("--sample", default=24, show_default=True, type=click.IntRange(1), help="Traces for the slow ways.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="The best round counts.")
@click.option(
    "--sabre",
    "sabre_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your copy of sabre.py (UMass-LIDS/sabre): it is executed and timed as well.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_simulator(
    folder: Path,
    profile: str,
    controllers: str | None,
    sample: int,
    rounds: int,
    sabre_path: Path | None,
    as_json: bool,
) -> None:
    """Sessions a second, against a Sabre-style event loop with the same controller."""
    benchmark = read_benchmark(folder, profile)
    prices, traces = benchmark.prices, [trace for group in benchmark.sets.values() for trace in group]
    makers = chosen_makers(controllers, profile, CONTROLLERS)
    speeds: dict[str, SimulatorSpeed] = {}
    with tempfile.TemporaryDirectory() as scratch:
        sabre = Sabre(sabre_path, Path(scratch), next(folder.glob("video_*.json"))) if sabre_path else None
        for name, make in track_quietly(makers.items(), "controllers"):
            peer = sabre.runner(name) if sabre and name in SABRES else None
            speeds[name] = speed(prices, traces, make, sample=sample, rounds=rounds, sabre=peer)
    report = {
        "sessions": len(traces),
        "segments": len(prices.duration_s),
        "controllers": speeds,
        "least_ratio": min(each.ratio for each in speeds.values()),
    }
    if as_json:
        sys.stdout.write(dumps_pretty(report).decode())
    else:
        _show(speeds, f"Sessions a second, {len(traces)} sessions of {len(prices.duration_s)} segments")


def _show(speeds: dict[str, SimulatorSpeed], title: str) -> None:
    table = Table("controller", "lockstep", "one by one", "event loop", "×", "sabre.py", "×", title=title)
    for name, each in speeds.items():
        sabre = (f"{each.sabre:.1f}", f"{each.ratio_sabre:.1f}") if each.sabre and each.ratio_sabre else ("", "")
        figures = (f"{each.lockstep:.0f}", f"{each.alone:.1f}", f"{each.event_loop:.1f}", f"{each.ratio:.1f}")
        table.add_row(name, *figures, *sabre)
    Console(width=None if sys.stdout.isatty() else 120).print(table)

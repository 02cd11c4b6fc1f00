"""`toprung simulate` and `toprung compare`: controllers over a user's own titles and traces, in the simulator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Column, Table

from abr.control import Controller
from abr.controllers import CONTROLLERS, make_controller
from abr.errors import InputError
from abr.events import dumps_log
from abr.formats import dumps_pretty, save
from abr.lockstep import Sessions, simulate_many
from abr.movies import load_title
from abr.options import PriceList
from abr.plots import cdf_panels
from abr.simulate import log_of
from abr.simulate import simulate as run_session
from abr.traces import Trace, read_traces

DEFAULT_CONTROLLERS = ("toprung", "bones", "dynamic_greedy", "throughput_greedy", "bola_greedy", "mpc_greedy", "lowest")


class Row(msgspec.Struct, frozen=True):
    """One session: a controller on a trace."""

    controller: str
    trace: str
    qoe: float
    vmaf: float
    oscillation: float
    stall_s: float
    startup_s: float
    mbytes: float
    enhanced_share: float


def rows_of(controller: str, traces: Sequence[Trace], sessions: Sessions) -> list[Row]:
    """The sessions, each in one line of a table."""
    shares = sessions.enhanced_share
    return [
        Row(
            controller=controller,
            trace=trace.name,
            qoe=experience.qoe,
            vmaf=experience.vmaf,
            oscillation=experience.oscillation,
            stall_s=experience.stall_s,
            startup_s=float(sessions.startup_s[i]),
            mbytes=float(sessions.size_bytes[i]) / 1e6,
            enhanced_share=float(shares[i]),
        )
        for i, (trace, experience) in enumerate(zip(traces, sessions.experiences, strict=True))
    ]


def compare_all(
    prices: PriceList, traces: Sequence[Trace], controllers: dict[str, Controller], buffer_max_s: float
) -> list[Row]:
    """Every controller on every trace."""
    return [
        row
        for name, controller in controllers.items()
        for row in rows_of(name, traces, simulate_many(prices, traces, controller, buffer_max_s=buffer_max_s))
    ]


_title = click.argument("title", type=click.Path(exists=True, path_type=Path))
_profile = click.option(
    "--profile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Device profile; without it only plain playback is offered.",
)
_buffer = click.option(
    "--buffer",
    "buffer_max_s",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Largest buffer, s.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_title
@click.option(
    "--trace",
    "trace_path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Trace file, or a folder of them.",
)
@click.option("--controller", default="toprung", show_default=True, help="Name, or path/to/file.py:Class.")
@_profile
@_buffer
@click.option(
    "--log", type=click.Path(dir_okay=False, path_type=Path), help="Write the session log of the first trace."
)
@_json
def simulate(
    title: Path,
    trace_path: Path,
    controller: str,
    profile: Path | None,
    buffer_max_s: float,
    log: Path | None,
    as_json: bool,
) -> None:
    """Run one controller over traces in the simulator.

    TITLE is a title folder or a Sabre movie JSON.
    """
    prices, traces, chosen = load_title(title, profile), read_traces(trace_path), make_controller(controller)
    if log is not None:
        first = run_session(prices, traces[0], chosen, buffer_max_s=buffer_max_s)
        events = log_of(first, title=title.name, controller=controller, network=traces[0].name)
        save(log, dumps_log(events))
    _show(compare_all(prices, traces, {controller: chosen}, buffer_max_s), as_json)


@click.command()
@_title
@click.option(
    "--traces",
    "trace_paths",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Trace files or folders of them; may be given again.",
)
@click.option("--controllers", help=f"Comma-separated names. Default: {','.join(DEFAULT_CONTROLLERS)}. All: `all`.")
@click.option("--controller", "own", multiple=True, help="A further controller, as path/to/file.py:Class; repeatable.")
@_profile
@_buffer
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the distributions as .svg or .html."
)
@_json
def compare(
    title: Path,
    trace_paths: tuple[Path, ...],
    controllers: str | None,
    own: tuple[str, ...],
    profile: Path | None,
    buffer_max_s: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare controllers over traces in the simulator.

    TITLE is a title folder or a Sabre movie JSON.
    """
    names = (*own, *_names(controllers))
    prices = load_title(title, profile)
    traces = [trace for path in trace_paths for trace in read_traces(path)]
    rows = compare_all(prices, traces, {name: make_controller(name) for name in dict.fromkeys(names)}, buffer_max_s)
    if plot is not None:
        save(plot, plot_text(rows, plot.suffix).encode())
    _show(rows, as_json)


def _names(controllers: str | None) -> tuple[str, ...]:
    if controllers is None:
        return DEFAULT_CONTROLLERS
    return tuple(CONTROLLERS) if controllers == "all" else tuple(controllers.split(","))


def plot_text(rows: Sequence[Row], suffix: str) -> str:
    """The distributions of QoE, VMAF and stalls over traces, as SVG or as an HTML page around it."""
    if suffix not in (".svg", ".html"):
        raise InputError(f"A plot is written as .svg or .html, not {suffix or 'without a suffix'!r}.")
    names = list(dict.fromkeys(row.controller for row in rows))
    panels = {
        title: {name: [getattr(row, field) for row in rows if row.controller == name] for name in names}
        for title, field in (("QoE", "qoe"), ("VMAF", "vmaf"), ("Stalls, s", "stall_s"), ("Megabytes", "mbytes"))
    }
    svg = cdf_panels(panels, axis="over traces")
    return svg if suffix == ".svg" else f"<!doctype html><meta charset=utf-8><title>Controllers compared</title>{svg}"


def _show(rows: Sequence[Row], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(dumps_pretty({"sessions": rows, "means": _means(rows)}).decode())
        return
    table = Table(
        Column("controller", no_wrap=True),
        "sessions",
        "QoE",
        "VMAF",
        "oscillation",
        "stall s",
        "start-up s",
        "MB",
        "enhanced",
    )
    for name, mean in _means(rows).items():
        cells = (f"{mean[field]:.2f}" for field in Row.__struct_fields__[2:-1])
        table.add_row(name.rpartition("/")[2], f"{mean['sessions']:.0f}", *cells, f"{mean['enhanced_share']:.0%}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Controller → mean of each figure over its traces, best QoE first."""
    means: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row.controller for row in rows):
        own = [row for row in rows if row.controller == name]
        means[name] = {"sessions": float(len(own))}
        means[name] |= {f: float(np.mean([getattr(row, f) for row in own])) for f in Row.__struct_fields__[2:]}
    return dict(sorted(means.items(), key=lambda item: -item[1]["qoe"]))

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

from abr.controllers import CONTROLLERS, make_controller
from abr.core.control import Controller
from abr.core.device import Wish
from abr.core.enhancement import Currency
from abr.core.events import dumps_log
from abr.core.options import PriceList
from abr.errors import InputError
from abr.evaluation.controller_failures import ControllerFailures, quiet_guard, raise_for_failures
from abr.evaluation.device_choice import choose_profile
from abr.evaluation.plots import cdf_panels
from abr.files import write_file
from abr.finite_range import FiniteRange
from abr.opinions.fitted import load_qoe
from abr.records import dumps_pretty
from abr.simulation.batch_simulator import Sessions, simulate_many
from abr.simulation.benchmark_data import load_title
from abr.simulation.session_log import log_of
from abr.simulation.simulator import simulate as run_session
from abr.simulation.trace_formats import read_traces
from abr.simulation.traces import Trace

DEFAULT_CONTROLLERS = ("toprung", "bones", "dynamic_greedy", "throughput_greedy", "bola_greedy", "mpc_greedy", "lowest")


class ComparisonRow(msgspec.Struct, frozen=True):
    """One session: a controller on a trace."""

    controller: str
    trace: str
    qoe: float
    quality: float
    """What decisions and QoE count: trusted quality, or VMAF if that was asked for."""
    vmaf: float
    oscillation: float
    switches_per_minute: float
    """Changes of rendition a minute of media."""
    stall_s: float
    startup_s: float
    mbytes: float
    enhanced_share: float
    energy_mj_per_minute: float
    """Of enhancing, above the idle device; an estimate where the profile's is one."""
    failures: int
    """Times that the controller failed and the lowest rung was played, or a download went on, in its place."""


FIGURES = ComparisonRow.__struct_fields__[2:-1]
"""The fields that are averaged over sessions."""


def rows_of(controller: str, traces: Sequence[Trace], sessions: Sessions) -> list[ComparisonRow]:
    """The sessions, each in one line of a table."""
    energy_mj = sessions.energy_mj_per_minute
    shares, vmaf, switches = sessions.enhanced_share, sessions.vmaf.mean(axis=1), sessions.switches_per_minute
    return [
        ComparisonRow(
            controller=controller,
            trace=trace.name,
            qoe=experience.qoe,
            quality=experience.quality,
            vmaf=float(vmaf[i]),
            oscillation=experience.oscillation,
            switches_per_minute=float(switches[i]),
            stall_s=experience.stall_s,
            startup_s=float(sessions.startup_s[i]),
            mbytes=float(sessions.size_bytes[i]) / 1e6,
            enhanced_share=float(shares[i]),
            energy_mj_per_minute=float(energy_mj[i]),
            failures=int(sessions.failures[i]),
        )
        for i, (trace, experience) in enumerate(zip(traces, sessions.experiences, strict=True))
    ]


def compare_all(
    prices: PriceList, traces: Sequence[Trace], controllers: dict[str, Controller], buffer_max_s: float
) -> tuple[list[ComparisonRow], dict[str, ControllerFailures]]:
    """Every controller on every trace, and how often each failed."""
    rows: list[ComparisonRow] = []
    failures: dict[str, ControllerFailures] = {}
    with quiet_guard():
        for name, controller in controllers.items():
            sessions = simulate_many(prices, traces, controller, buffer_max_s=buffer_max_s)
            rows += rows_of(name, traces, sessions)
            failures[name] = ControllerFailures.of(sessions)
    return rows, failures


_title = click.argument("title", type=click.Path(exists=True, path_type=Path))
_profile = click.option(
    "--profile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Device profile.  [default: this device's, if toprung profile has left one]",
)
_plain = click.option("--plain", is_flag=True, help="Offer plain playback only, whatever this device can.")
_quality = click.option(
    "--quality",
    "currency",
    type=click.Choice([each.value for each in Currency]),
    default=Currency.TRUSTED.value,
    show_default=True,
    help="What counts: VMAF, or the part of a lift that the panel attests.",
)
qoe_option = click.option(
    "--qoe",
    "qoe_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Count quality in the points of a QoE learnt from people (`toprung qoe fit`).",
)
_energy = click.option(
    "--energy",
    "wish",
    type=click.Choice([each.value for each in Wish]),
    help="How the viewer wants energy spent.  [default: as the profile says]",
)
_buffer = click.option(
    "--buffer",
    "buffer_max_s",
    type=FiniteRange(1, 3600),
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
@_plain
@_quality
@qoe_option
@_energy
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
    plain: bool,
    currency: str,
    qoe_file: Path | None,
    wish: str | None,
    buffer_max_s: float,
    log: Path | None,
    as_json: bool,
) -> None:
    """Run one controller over traces in the simulator.

    TITLE is a title folder or a Sabre movie JSON. A controller that fails is counted in the table, and the exit code
    is 1.
    """
    device = choose_profile(title, profile, plain=plain, say=_warn)
    prices = _prices(title, device, currency, wish, qoe_file)
    traces, chosen = read_traces(trace_path, _warn), make_controller(controller)
    rows, failures = compare_all(prices, traces, {controller: chosen}, buffer_max_s)
    if log is not None:
        with quiet_guard():
            first = run_session(prices, traces[0], chosen, buffer_max_s=buffer_max_s)
        events = log_of(first, title=title.name, controller=controller, network=traces[0].name)
        write_file(log, dumps_log(events))
    _show(rows, device, as_json)
    raise_for_failures(failures)


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
@_plain
@_quality
@qoe_option
@_energy
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
    plain: bool,
    currency: str,
    qoe_file: Path | None,
    wish: str | None,
    buffer_max_s: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare controllers over traces in the simulator.

    TITLE is a title folder or a Sabre movie JSON. A controller that fails is counted in the table, and the exit code
    is 1.
    """
    names = (*own, *_names(controllers))
    device = choose_profile(title, profile, plain=plain, say=_warn)
    prices = _prices(title, device, currency, wish, qoe_file)
    traces = [trace for path in trace_paths for trace in read_traces(path, _warn)]
    chosen = {name: make_controller(name) for name in dict.fromkeys(names)}
    rows, failures = compare_all(prices, traces, chosen, buffer_max_s)
    if plot is not None:
        write_file(plot, plot_text(rows, plot.suffix).encode())
    _show(rows, device, as_json)
    raise_for_failures(failures)


def _prices(title: Path, device: Path | None, currency: str, wish: str | None, qoe_file: Path | None) -> PriceList:
    qoe = load_qoe(qoe_file) if qoe_file else None
    return load_title(title, device, Currency(currency), Wish(wish) if wish else None, qoe)


def _warn(sentence: str) -> None:
    click.echo(sentence, err=True)


def _names(controllers: str | None) -> tuple[str, ...]:
    if controllers is None:
        return DEFAULT_CONTROLLERS
    return tuple(CONTROLLERS) if controllers == "all" else tuple(controllers.split(","))


def plot_text(rows: Sequence[ComparisonRow], suffix: str) -> str:
    """The distributions of QoE, quality and stalls over traces, as SVG or as an HTML page around it."""
    if suffix not in (".svg", ".html"):
        raise InputError(f"A plot is written as .svg or .html, not {suffix or 'without a suffix'!r}.")
    names = list(dict.fromkeys(row.controller for row in rows))
    panels = {
        title: {name: [getattr(row, field) for row in rows if row.controller == name] for name in names}
        for title, field in (("QoE", "qoe"), ("Quality", "quality"), ("Stalls, s", "stall_s"), ("Megabytes", "mbytes"))
    }
    svg = cdf_panels(panels, axis="over traces")
    return svg if suffix == ".svg" else f"<!doctype html><meta charset=utf-8><title>Controllers compared</title>{svg}"


def _show(rows: Sequence[ComparisonRow], device: Path | None, as_json: bool) -> None:
    if as_json:
        report = {"profile": str(device) if device else None, "sessions": rows, "means": _means(rows)}
        sys.stdout.write(dumps_pretty(report).decode())
        return
    table = Table(
        Column("controller", no_wrap=True),
        "sessions",
        "QoE",
        "quality",
        "VMAF",
        "oscillation",
        "switches/min",
        "stall s",
        "start-up s",
        "MB",
        "enhanced",
        "mJ/min",
        "failed",
    )
    for name, mean in _means(rows).items():
        cells = [f"{mean[field]:.2f}" for field in FIGURES[:-2]]
        cells += [f"{mean['enhanced_share']:.0%}", f"{mean['energy_mj_per_minute']:.0f}"]
        table.add_row(name.rpartition("/")[2], f"{mean['sessions']:.0f}", *cells, f"{mean['failures']:.0f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _means(rows: Sequence[ComparisonRow]) -> dict[str, dict[str, float]]:
    """Controller → mean of each figure over its traces, best QoE first; `sessions` and `failures` are sums."""
    means: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row.controller for row in rows):
        own = [row for row in rows if row.controller == name]
        means[name] = {"sessions": float(len(own))}
        means[name] |= {figure: float(np.mean([getattr(row, figure) for row in own])) for figure in FIGURES}
        means[name]["failures"] = float(sum(row.failures for row in own))
    return dict(sorted(means.items(), key=lambda item: -item[1]["qoe"]))

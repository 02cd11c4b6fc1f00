"""`toprung gauge`: models in the wild."""

from __future__ import annotations

from pathlib import Path

import click

from abr.extras import require
from abr.finite_range import FiniteRange
from abr.progress import show_share
from abr.time_limit import Duration, time_limit

REPORT_FILE, JSON_FILE = "gauge.html", "gauge.json"


@click.command(context_settings={"show_default": True})
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=f"Write {REPORT_FILE} and {JSON_FILE}.")
@click.option("--seconds", type=FiniteRange(0.05, 60), default=1.0, help="Of running one model in one way.")
@click.option("--threads", type=click.IntRange(1, 256), multiple=True, help="Threads to run with; may be given again.")
@click.option("--run/--no-run", default=True, help="Run the models, or only read them.")
@click.option("--full-w", type=FiniteRange(0.1, 10_000), help="Watts with all cores at work, where none can be read.")
@click.option("--idle-w", type=FiniteRange(0, 10_000), help="Watts at rest, with --full-w.  [default: a ninth of it]")
@click.option("--time-limit", "limit_s", type=Duration(), default="1h", help="For all of it.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def gauge(
    paths: tuple[Path, ...],
    out: Path | None,
    seconds: float,
    threads: tuple[int, ...],
    run: bool,
    full_w: float | None,
    idle_w: float | None,
    limit_s: float,
    as_json: bool,
) -> None:
    """Find the models in files, folders and packages (APK, IPA, wheel, ZIP), and measure them on this device.

    ONNX, TFLite, OpenVINO, TorchScript and safetensors are read. Copies are merged; the task is guessed from what goes
    in and what comes out; parameters, layers and multiplications are counted; each model runs on every backend here
    that takes it. The report tells latency, memory and energy, and what FLOPs alone would have predicted. Every file is
    read and run in a process of its own, with bounds. Pickled checkpoints are found and never opened.
    """
    require("Gauging models", "onnx")
    from abr.core.energy import assumed_power
    from abr.files import write_file
    from abr.records import dumps, dumps_pretty
    from enhancers.cli.power import power_of
    from enhancers.gauge.gauge import GaugeRequest
    from enhancers.gauge.gauge import gauge as gauge_paths
    from enhancers.gauge.report import as_html, as_text
    from enhancers.profiling.machine import cores

    power = power_of(full_w, idle_w) or assumed_power(cores())
    request = GaugeRequest(paths=paths, power=power, threads=sorted(set(threads)) or (1,), seconds=seconds, run=run)
    with time_limit(limit_s, "Gauging models"), show_share() as progress:
        report = gauge_paths(request, progress)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_file(out / JSON_FILE, dumps_pretty(report))
        write_file(out / REPORT_FILE, as_html(report))
        click.echo(f"Report: {out / REPORT_FILE}", err=True)
    click.echo(dumps(report).decode() if as_json else as_text(report))

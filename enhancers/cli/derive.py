"""`toprung derive`: a network for a device, within its budget. Heavy packages are imported when the command runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.errors import InputError
from abr.extras import require
from abr.files import check_output
from abr.finite_range import FiniteRange
from abr.progress import ShareListener, show_share
from abr.time_limit import Duration, time_limit

if TYPE_CHECKING:
    from enhancers.deriving.costs import CostModel
    from enhancers.deriving.derive import Derivation, Derived

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(context_settings={"show_default": True})
@click.argument("title")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--source", type=_FILE, help="What the title was prepared from.")
@click.option("--rung", help="Whose frames it lifts, such as 180p.  [default: the lowest]")
@click.option("--device", type=_FILE, help="Profile of the device (toprung profile --output).  [default: this one]")
@click.option("--fleet", metavar="URL", help="Instead: a server; one network for each class of its viewers' devices.")
@click.option(
    "--operator-token", envvar="TOPRUNG_OPERATOR_TOKEN", default="", help="Of that server.", show_default=False
)
@click.option("--budget", "budget_text", required=True, help="What it may take, such as ms=8,bytes=60k,peak_mb=40.")
@click.option("--output", type=_FILE, required=True, help="Write the network here, usually *.safetensors.")
@click.option("--seconds", type=FiniteRange(1, 86_400), default=180.0, help="Of training.")
@click.option("--steps", type=click.IntRange(4), help="Steps of training instead: repeatable exactly.")
@click.option("--seed", type=click.IntRange(min=0), default=0)
@click.option("--time-limit", "limit_s", type=Duration(), default="12h", help="For all of it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def derive(
    title: str,
    library: Path,
    source: Path | None,
    rung: str | None,
    device: Path | None,
    fleet: str | None,
    operator_token: str,
    budget_text: str,
    output: Path,
    seconds: float,
    steps: int | None,
    seed: int,
    limit_s: float,
    as_json: bool,
) -> None:
    """Make a network for a device and one rung of a TITLE, within a budget.

    The budget: ms of a frame on the device, in one thread; bytes of the file; peak_mb, million bytes that its largest
    operator reads and writes. The network begins as the first blocks of the TITLE's own for this rung, or else of the
    generic one, and learns which channels to do without. It lifts luma.

    Then offer it: toprung import-model FILE TITLE. Devices use it once they have measured it: toprung profile --model
    FILE. With --fleet the class of devices becomes part of the file's name.
    """
    if device and fleet:
        raise click.UsageError("Give --device or --fleet, not both.")
    require("Deriving a network", "train")
    from enhancers.deriving.budget import read_budget
    from enhancers.deriving.derive import Derivation, measure_costs
    from enhancers.deriving.titles import open_rung
    from enhancers.training.title_weights import CONTENT_DETAIL_WEIGHT, CONTENT_STRUCTURE_WEIGHT
    from enhancers.training.trainer import TrainingSettings

    budget = read_budget(budget_text)
    check_output(output, *filter(None, (source, device)))
    recipe = TrainingSettings(
        steps=steps or 0,
        seconds=0.0 if steps else seconds,
        detail_weight=CONTENT_DETAIL_WEIGHT,
        structure_weight=CONTENT_STRUCTURE_WEIGHT,
    )
    with time_limit(limit_s, f"Deriving a network of {title}"), show_share() as progress:
        classes = _classes(fleet, operator_token) if fleet else {}
        subject = open_rung(library, title, source, rung, progress)
        wanted = Derivation(
            teacher=subject.teacher,
            pairs=[subject.pairs],
            size_px=subject.size_px,
            budget=budget,
            recipe=recipe,
            seed=seed,
            note=f"derived for {budget}, {subject.rendition}, seed {seed}",
            source_sha256=subject.source_sha256,
        )
        if fleet:
            costs = measure_costs(wanted)
            told = [_of_class(name, times, wanted, costs, output, progress) for name, times in classes.items()]
        else:
            told = [_write(wanted, _times(device, wanted) if device else 1.0, output, progress)]
    click.echo(json.dumps({"classes": told} if fleet else told[0]) if as_json else "\n".join(map(_as_text, told)))
    if not any(each["file"] for each in told):
        raise InputError("No class of devices got a network: give a larger --budget, or another --rung.")


def _classes(url: str, token: str) -> dict[str, float]:
    """The classes of a fleet, and how many times as long as this machine they take."""
    from enhancers.deriving.fleet import read_fleet, reference_ms_here

    found = read_fleet(url, token)
    here_ms = reference_ms_here()
    return {each.name: each.reference_ms / here_ms for each in found if each.reference_ms}


def _times(device: Path, wanted: Derivation) -> float:
    from abr.core.device import DeviceProfile
    from abr.records import load
    from enhancers.deriving.derive import times_of

    return times_of(load(device, DeviceProfile), wanted.teacher.architecture)


def _of_class(
    name: str, times: float, wanted: Derivation, costs: CostModel, output: Path, progress: ShareListener
) -> dict[str, object]:
    """As `_write`; a class for which nothing is within the budget has no file, and says why."""
    try:
        return {"class": name} | _write(wanted, times, output.with_stem(f"{output.stem}-{name}"), progress, costs)
    except InputError as error:
        return {"class": name, "file": None, "why": str(error)}


def _write(
    wanted: Derivation, times: float, output: Path, progress: ShareListener, costs: CostModel | None = None
) -> dict[str, object]:
    """Derive for a device that takes `times` as long as this machine, and write the file. Its figures."""
    from abr.files import write_atomically
    from enhancers.deriving.derive import derive as derive_network

    try:
        found = derive_network(replace(wanted, budget=wanted.budget.slowed(1 / times)), progress, costs=costs)
    except InputError as error:
        told = "" if times == 1.0 else f" Times are of this machine; the device takes {times:.3g} times as long."
        raise InputError(f"{error}{told}") from error
    write_atomically(output, found.network.data)
    return _figures(found, times, output)


def _figures(found: Derived, times: float, output: Path) -> dict[str, object]:
    """Milliseconds are of the device."""
    return {
        "architecture": str(found.network.architecture),
        "file": str(output),
        "size_bytes": len(found.network.data),
        "ms": round(found.ms * times, 2),
        "teacher_ms": round(found.teacher_ms * times, 2),
        "peak_mb": round(found.peak_mb, 2),
        "macs_per_output_px": round(found.network.macs_per_output_px, 1),
        "device_times": round(times, 2),
        "begun_from": str(found.cell),
        "cells": {name: round(score, 3) for name, score in found.cells.items()},
        "operator_error": round(found.operator_error, 4),
        "seconds": round(found.seconds, 1),
    }


def _as_text(told: dict[str, object]) -> str:
    if told["file"] is None:
        return f"{told['class']}: no network. {told['why']}"
    estimate = "" if told["device_times"] == 1.0 else f" (reckoned: {told['device_times']} times as long as here)"
    return (
        f"{told['file']}: {told['architecture']}, {told['size_bytes']} bytes, {told['peak_mb']} MB at its peak\n"
        f"{told['ms']} ms a frame{estimate}, its teacher {told['teacher_ms']} ms; made in {told['seconds']} s"
    )


@click.command(context_settings={"show_default": True})
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Frames of the clip before those that are used.")
@click.option("--frames", type=click.IntRange(min=48), default=480)
@click.option("--scale", type=click.Choice(["1.5", "2", "3", "4"]), default="4")
@click.option("--depth", type=click.Choice(["2", "5", "10"]), default="2", help="Blocks of the teacher.")
@click.option("--shares", default="0.5,0.3", help="Of the teacher's time.")
@click.option("--steps", type=click.IntRange(4), default=500, help="Of each training.")
@click.option("--seeds", default="0")
@click.option("--cells", type=click.IntRange(min=0), default=0, help="Instead: rank so many random cells.")
@click.option("--cell-ms", type=FiniteRange(0.1, 1000), default=5.0, help="What each of these takes.")
def bench_derive(
    clip: Path,
    skip: int,
    frames: int,
    scale: str,
    depth: str,
    shares: str,
    steps: int,
    seeds: str,
    cells: int,
    cell_ms: float,
) -> None:
    """Derived networks against magnitude pruning and narrow networks, by VMAF-NEG of frames held out.

    All take as long by the measured table of operators, and train as many steps on a rung of the CLIP. One JSON object
    a line. With --cells: what zero-cost proxies say of random networks, and Kendall's tau with what training came to.
    """
    require("Measuring derived networks", "train", "bench")
    from enhancers.bench.derive import compare, costs_of, kendall_tau, rank_cells, read_subject

    subject = read_subject(clip, float(scale), skip, frames, int(depth))
    costs = costs_of(subject)
    click.echo(json.dumps({"how": "operators", "fixed_ms": costs.latency.fixed_ms, "error": costs.latency.error}))
    wanted, drawn = [float(each) for each in shares.split(",")], [int(each) for each in seeds.split(",")]
    if not cells:
        for row in compare(subject, costs, wanted, steps, drawn, lambda _what, _done: None):
            click.echo(json.dumps(row))
        return
    found = []
    for cell in rank_cells(subject, costs, cell_ms, cells, steps, drawn[0]):
        found.append(cell)
        click.echo(json.dumps(cell.row))
    reached = [cell.vmaf_neg for cell in found]
    taus = {name: kendall_tau([cell.scores[name] for cell in found], reached) for name in found[0].scores}
    click.echo(json.dumps({"how": "tau"} | {name: round(tau, 3) for name, tau in taus.items()}))

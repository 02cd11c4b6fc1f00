"""`toprung derive`: a network for a device, within its budget. Heavy packages are imported when the command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.extras import require
from abr.finite_range import FiniteRange
from abr.progress import show_share
from abr.time_limit import Duration, time_limit

if TYPE_CHECKING:
    from abr.core.device import DeviceProfile
    from enhancers.deriving.derive import Derived

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(context_settings={"show_default": True})
@click.argument("title")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--source", type=_FILE, help="What the title was prepared from.")
@click.option("--rung", help="Whose frames it lifts, such as 180p.  [default: the lowest]")
@click.option("--device", type=_FILE, help="Profile of the device (toprung profile --output).  [default: this one]")
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
    FILE.
    """
    require("Deriving a network", "train")
    from abr.files import write_atomically
    from enhancers.deriving.budget import read_budget
    from enhancers.deriving.derive import Derivation, times_of
    from enhancers.deriving.derive import derive as derive_network
    from enhancers.deriving.titles import open_rung
    from enhancers.training.trainer import TrainingSettings

    budget = read_budget(budget_text)
    recipe = TrainingSettings(steps=steps or 0, seconds=0.0 if steps else seconds)
    with time_limit(limit_s, f"Deriving a network of {title}"), show_share() as progress:
        subject = open_rung(library, title, source, rung, progress)
        times = times_of(_profile(device), subject.teacher.architecture, subject.size_px) if device else 1.0
        wanted = Derivation(
            teacher=subject.teacher,
            pairs=[subject.pairs],
            size_px=subject.size_px,
            budget=budget.slowed(1 / times),
            recipe=recipe,
            seed=seed,
            note=f"derived for {budget}, {subject.rendition}, seed {seed}",
            source_sha256=subject.source_sha256,
        )
        found = derive_network(wanted, progress)
    write_atomically(output, found.network.data)
    told = _summary(found, times, output)
    click.echo(json.dumps(told) if as_json else _as_text(told))


def _profile(path: Path) -> DeviceProfile:
    from abr.core.device import DeviceProfile
    from abr.records import load

    return load(path, DeviceProfile)


def _summary(found: Derived, times: float, output: Path) -> dict[str, object]:
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
    estimate = "" if told["device_times"] == 1.0 else f" (reckoned: {told['device_times']} times as long as here)"
    return (
        f"{told['file']}: {told['architecture']}, {told['size_bytes']} bytes, {told['peak_mb']} MB at its peak\n"
        f"{told['ms']} ms a frame{estimate}, its teacher {told['teacher_ms']} ms; made in {told['seconds']} s"
    )

"""`toprung profile`: what enhancers take of this device. Heavy packages are imported when the command runs."""

from __future__ import annotations

from pathlib import Path

import click

from abr.extras import require
from abr.finite_range import FiniteRange
from abr.progress import show_share


@click.command(context_settings={"show_default": True})
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.  [default: cache]")
@click.option("--quick", is_flag=True, help="Fewer runs, the usual backend only; about 20 s.")
@click.option("--force", is_flag=True, help="Measure again although a valid profile is there.")
@click.option("--soak", "soak_s", type=FiniteRange(5, 3600), help="Then work so many seconds without a pause; 60, say.")
@click.option("--full-w", type=FiniteRange(0.1, 10_000), help="Watts with all cores at work, where none can be read.")
@click.option("--idle-w", type=FiniteRange(0, 10_000), help="Watts at rest, with --full-w.  [default: a ninth of it]")
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Measure this imported or derived network too; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the profile itself.")
def profile(
    output: Path | None,
    quick: bool,
    force: bool,
    soak_s: float | None,
    full_w: float | None,
    idle_w: float | None,
    models: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Measure what each enhancer takes of this device: the device profile.

    Times run from decoded frame to display frame, warm, median and 95th percentile. Memory is the peak of a process of
    its own. Energy is that of a frame, above the idle device: by RAPL, NVML or the battery where they can be read. Else
    it is an estimate (~), from the time that the processor worked and the watts that you give.
    """
    require("Measuring this device", "onnx" if models else "player")
    from abr.records import dumps
    from enhancers.cli.power import power_of
    from enhancers.measurement.device_profile import ProfileRequest, as_text, profile_device, profile_networks

    power = power_of(full_w, idle_w)
    request = ProfileRequest(quick=quick, force=force, soak_s=soak_s or 0.0, power=power)
    with show_share() as progress:
        path, measured = profile_device(output, request, progress, tell=True)
        if models:
            from enhancers.interchange.import_network import read_own

            measured = profile_networks(path, measured, [read_own(model) for model in models], quick=quick)
    click.echo(dumps(measured).decode() if as_json else f"{as_text(measured)}\n{path}")

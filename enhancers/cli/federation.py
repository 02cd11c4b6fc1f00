"""`toprung federate report`. Heavy packages are imported when the command runs."""

from __future__ import annotations

from pathlib import Path

import click

from abr.finite_range import FiniteRange


@click.command(context_settings={"show_default": True})
@click.option(
    "--profile",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Of the device: what `toprung profile` wrote.",
)
@click.option("--here", is_flag=True, help="It is this machine: measure training too, a minute.")
@click.option("--gain", "gain_points", type=FiniteRange(0.001, 100), default=0.5, help="VMAF-NEG that is to be gained.")
@click.option("--cohort", type=click.IntRange(5, 1000), default=20, help="Players of a round.")
@click.option("--batch", type=click.IntRange(1, 64), default=16, help="Patches in a step of training.")
@click.option("--steps", type=click.IntRange(1, 10_000), default=20, help="Of training before a round.")
@click.option("--memory-max-mb", type=FiniteRange(1, 1e7), default=512.0, help="That a round may take.")
@click.option("--seconds-max", type=FiniteRange(0.1, 1e7), default=60.0, help="Of one core, that a round may take.")
@click.option("--joules-max", type=FiniteRange(0.1, 1e9), default=2000.0, help="That a round may take.")
@click.option("--mbytes-max", type=FiniteRange(0.001, 1e6), default=5.0, help="Megabytes to and fro, of a round.")
@click.option("--growth", type=FiniteRange(0, 10), default=0.25, help="Of devices, a year: 0.25 is a quarter more.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write it as a page, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def report(
    file: Path,
    here: bool,
    gain_points: float,
    cohort: int,
    batch: int,
    steps: int,
    memory_max_mb: float,
    seconds_max: float,
    joules_max: float,
    mbytes_max: float,
    growth: float,
    html: Path | None,
    as_json: bool,
) -> None:
    """Say whether a device may take part in tuning: what a round takes by tier, what binds, and when it would go.

    wav2vec 2.0 base stands beside them, by the same formulas.
    """
    import time

    from abr.core.device import DeviceProfile
    from abr.extras import require
    from abr.federation.costs import Limits
    from abr.files import write_atomically
    from abr.records import dumps, load

    require("Reckoning what training takes", "train", *(("private",) if here else ()))
    from enhancers.federation.ability import measure_ability, reckon_ability
    from enhancers.federation.report import ReportRequest, as_html, as_text, make_report

    profile = load(file, DeviceProfile)
    ability = measure_ability(profile.power) if here else reckon_ability(profile)
    limits = Limits(
        memory_bytes=memory_max_mb * 1e6,
        seconds=seconds_max,
        joules=joules_max,
        traffic_bytes=mbytes_max * 1e6,
        growth=growth,
    )
    made = make_report(
        profile,
        ability,
        ReportRequest(
            gain_points=gain_points,
            cohort=cohort,
            batch=batch,
            steps=steps,
            limits=limits,
            year=time.gmtime().tm_year,
            is_measured=here,
        ),
    )
    if html is not None:
        write_atomically(html, as_html(made).encode())
    click.echo(dumps(made).decode() if as_json else as_text(made))

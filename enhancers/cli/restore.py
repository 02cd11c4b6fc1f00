"""`toprung restore`: a blurred source lifted above itself."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from abr.display_height import DisplayHeight
from abr.extras import require
from abr.time_limit import Duration, time_limit

MASTER_MAX_PX = 2160
"""Along the short side of a master: twice what titles are shown at."""


@click.command(no_args_is_help=True)
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--display",
    "short_side_px",
    type=DisplayHeight(MASTER_MAX_PX),
    required=True,
    help="Size to reach, such as 1080p.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The master (Matroska).")
@click.option("--kernels", type=click.Path(path_type=Path, dir_okay=False), help="Its track; told anew otherwise.")
@click.option("--accept-short", is_flag=True, help="Take a file that ends before its header says so as it is.")
@click.option("--time-limit", "limit_s", type=Duration(), default="24h", show_default=True, help="For all of it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restore(
    source: Path,
    short_side_px: int,
    out: Path,
    kernels: Path | None,
    accept_short: bool,
    limit_s: float,
    as_json: bool,
) -> None:
    """Restore SOURCE, whose blur is unknown, at a display larger than itself.

    Each shot is lifted by a network that is told its blur (toprung kernels). The file that is written is a master for
    toprung prepare: every rung gains, for every viewer. Luma is restored, chroma scaled; the first sound is copied.
    """
    require("Restoring sources", "player")
    from abr.blur.track import KernelTrack
    from abr.files import check_output
    from abr.progress import bars_reporting_to, show_progress
    from abr.records import load
    from enhancers.restoration.master import write_master

    track = load(kernels, KernelTrack) if kernels else None
    check_output(out, source, *([kernels] if kernels else []))
    with time_limit(limit_s, f"Restoring {source.name}"), show_progress(transient=True) as listener:
        bars = bars_reporting_to(partial(listener, ""))
        width_px, height_px = write_master(source, out, short_side_px, track, bars, accept_short=accept_short)
    told = {"file": str(out), "width_px": width_px, "height_px": height_px}
    click.echo(json.dumps(told) if as_json else out)

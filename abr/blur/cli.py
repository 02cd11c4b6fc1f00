"""`toprung kernels`: the blur of a source over time."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.time_limit import Duration, time_limit

if TYPE_CHECKING:
    from abr.blur.track import KernelTrack


@click.command(context_settings={"show_default": True})
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the track as JSON.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write the widths over time as SVG.")
@click.option("--accept-short", is_flag=True, help="Take a file that ends before its header says so as it is.")
@click.option("--time-limit", "limit_s", type=Duration(), default="24h", help="For all of it.")
@click.option("--json", "as_json", is_flag=True, help="Print the track as JSON.")
def kernels(
    source: Path, out: Path | None, plot: Path | None, accept_short: bool, limit_s: float, as_json: bool
) -> None:
    """Tell with which blur SOURCE was made, shot by shot.

    A shot whose kernel stands still has one code of ten floats, another one a code for each frame. Widths are standard
    deviations in source pixels: what a ladder's bicubic filter shrank has 0.23.
    """
    from abr.blur.plot import track_svg
    from abr.blur.source_track import track_of
    from abr.files import check_output, write_atomically
    from abr.progress import bars_reporting_to, show_progress
    from abr.records import dumps, dumps_pretty

    for wanted in filter(None, (out, plot)):
        check_output(wanted, source)
    with time_limit(limit_s, f"Reading {source.name}"), show_progress(transient=True) as listener:
        track = track_of(source, bars_reporting_to(partial(listener, "")), accept_short=accept_short)
    if out is not None:
        write_atomically(out, dumps_pretty(track))
    if plot is not None:
        write_atomically(plot, track_svg(track, source.name).encode())
    if as_json:
        click.echo(dumps(track).decode())
    else:
        _print_shots(track)


def _print_shots(track: KernelTrack) -> None:
    import numpy as np

    from abr.blur.kernel import blur_of

    fps = track.frame_rate[0] / track.frame_rate[1]
    for number, shot in enumerate(track.shots, start=1):
        told = f"shot {number}, from {shot.start / fps:.2f} s, {shot.frames} frames: "
        if not shot.codes:
            click.echo(f"{told}too few edges to tell")
            continue
        major, minor, angle = blur_of(np.mean(shot.codes, axis=0)).axes
        stands = "moves" if shot.moves else "stands still"
        click.echo(f"{told}{major:.2f} × {minor:.2f} px at {np.degrees(angle):.0f}°, {stands}")
    if not track.shots:
        click.echo("There is no picture to look at.", file=sys.stderr)

"""`toprung bench plan`. Heavy packages are imported when the command runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from abr.extras import require
from abr.progress import show_share


@click.command(context_settings={"show_default": True})
@click.argument("title")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--source", type=click.Path(path_type=Path, dir_okay=False), help="What the title was prepared from.")
@click.option("--rung", default="180p", help="The rendition that is lifted.")
@click.option("--family", type=click.Choice(["generic", "content"]), default="content", help="Whose networks.")
@click.option("--segments", type=click.IntRange(min=1), default=10, help="So many from the title's beginning.")
@click.option("--vmaf-every", type=click.IntRange(min=1), default=7, help="Score one frame in so many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_plan(
    title: str,
    library: Path,
    source: Path | None,
    rung: str,
    family: str,
    segments: int,
    vmaf_every: int,
    as_json: bool,
) -> None:
    """Measure quality against computing on a TITLE that has been trained: tiers, time-shared tiers, frame plans.

    Every curve is judged on the same frames as they are shown. The optimum is planned with the meter's word on every
    scored frame, which a plan of toprung train does not have.
    """
    require("This benchmark", "train")
    from abr.core.enhancement import Family
    from enhancers.bench.plan import first_segments, measure_plan_curves
    from enhancers.prepared_title import find_table, open_title

    prepared = open_title(library, title, source)
    table = find_table(prepared)
    with show_share() as progress:
        some = first_segments(prepared, segments)
        result = measure_plan_curves(some, table, rung, Family(family), vmaf_every, progress)
    click.echo(json.dumps(result.as_json()) if as_json else result.as_text())

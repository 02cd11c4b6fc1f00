"""`toprung bench pairs` and `ratings`: which pictures people prefer, asked and counted."""

from __future__ import annotations

import json
from pathlib import Path

import click

from abr.extras import require
from abr.progress import show_share


@click.command("pairs", context_settings={"show_default": True})
@click.argument("title")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write.")
@click.option("--excerpts", type=click.IntRange(1), default=2, help="Segments of the title that are shown.")
@click.option("--seed", type=int, default=1, help="Draws the segments.")
def bench_pairs(title: str, library: Path, out: Path, excerpts: int, seed: int) -> None:
    """Write blind pairs of clips of a trained TITLE, and a page to rate them.

    For each rung that is lifted: the lifted picture against the plain one of the same bytes, and against the next
    rung's. The page works from the disk: open index.html, choose, save the votes. `toprung bench ratings` counts them.
    """
    require("Lifting pictures", "player")
    from enhancers.bench.pairs import PAGE_FILE, write_pairs
    from enhancers.prepared_title import find_table, find_title

    found = find_title(library, title)
    table = find_table(found)
    with show_share() as progress:
        key = write_pairs(found, table, out, excerpts=excerpts, seed=seed, progress=progress)
    click.echo(f"{len(key.comparisons)} pairs of {len(key.clips)} clips; open {out / PAGE_FILE}")


@click.command("ratings")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("votes", type=click.Path(path_type=Path, dir_okay=False), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_ratings(folder: Path, votes: tuple[Path, ...], as_json: bool) -> None:
    """Count the VOTES (files that the page saved) on the pairs in FOLDER.

    Shares of votes with Wilson's interval, and Bradley–Terry scores: a difference of 1 is a preference of 73 %. Then
    which weight of the two medians of trusted quality explains the votes best.
    """
    require("Counting ratings", "player")
    from abr.opinions.rating_key import read_key
    from enhancers.bench.ratings import read_ballots, sum_up

    key = read_key(folder)
    result = sum_up(key, read_ballots(votes, key))
    click.echo(json.dumps(result.as_json(), indent=1) if as_json else result.as_text())

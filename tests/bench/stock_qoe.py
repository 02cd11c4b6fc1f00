"""What a stock dash.js viewer sees with its own ABR and with the server's, over the same emulated network.

    python tests/bench/stock_qoe.py LIBRARY TITLE TRACE... [--server driven|advised] [--player shaka-5] [--json]

For each trace two headless Chromiums play at once, in real time, each behind a link emulator of its own that begins the
trace anew: dash.js with its default ABR (Dynamic) on the standard manifest, and the same dash.js on the manifest of a
session, telling the server no more than CMCD. Driven: the server chooses each segment. Advised: the player chooses, by
the standard manifest, and the server caps it by CMSD (Shaka obeys). Quality is that of the heights really shown (by
requestVideoFrameCallback), from the title's tables; a picture that stands still for over a quarter of a second is a
stall, whatever the player calls it. QoE is abr.core.qoe.experience, as everywhere.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import click
from rich.console import Console
from rich.table import Table

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from browser import chromium
from served import serving
from stock_players import Viewing, opened_session, segment_of, stage, watch

from abr.core.qoe import experience
from abr.core.title import Title
from abr.records import Record, dumps
from abr.simulation.trace_formats import read_trace
from abr.simulation.traces import Trace
from client_player.emulate.proxy import emulating
from server.media.library import Library

BUFFER_S = 18.0
"""dash.js's default target; a lone Representation would else be buffered for 30 s, as being at its top quality."""
ADVISED_BUFFER_S = 10.0
"""Shaka's default target: a player that chooses keeps its own."""
LIMIT_FACTOR = 4.0
DRIVEN, ADVISED, OWN = "driven", "advised", "its own ABR"


class Watched(Record, frozen=True):
    """One viewing in numbers."""

    trace: str
    abr: str
    qoe: float
    vmaf: float
    oscillation: float
    stalls: int
    stall_s: float
    startup_s: float
    heights: tuple[int, ...]
    """The one shown longest of each segment."""


def judge(trace: str, abr: str, title: Title, viewing: Viewing) -> Watched:
    """Segments that were shown at two heights (dash.js replaces buffered ones) count by frames."""
    height_of = {rendition.height_px: rendition.id for rendition in title.renditions}
    shown = [Counter[int]() for _ in title.segment_frames]
    for media_s, height, *_ in viewing.frames:
        shown[segment_of(title, media_s)][height] += 1
    vmaf = [
        fmean(
            (title.plain_quality[height_of[height]].vmaf[segment] for height in counts),
            weights=counts.values(),
        )
        for segment, counts in enumerate(shown)
        if counts
    ]
    frozen_s = viewing.frozen_s()
    stall_s = sum(frozen_s)
    lived = experience(vmaf, stall_s)
    return Watched(
        trace=trace,
        abr=abr,
        qoe=round(lived.qoe, 2),
        vmaf=round(lived.quality, 2),
        oscillation=round(lived.oscillation, 2),
        stalls=len(frozen_s),
        stall_s=round(stall_s, 2),
        startup_s=round(viewing.startup_s, 2),
        heights=tuple(counts.most_common(1)[0][0] if counts else 0 for counts in shown),
    )


async def _view(trace: Trace, abr: str, library: Path, title: Title, player: str, controller: str) -> Watched:
    async with serving(str(library)) as url, emulating(trace, url) as link, stage() as theatre, chromium() as browser:
        source, how = f"titles/{title.id}/manifest.mpd", {}
        if abr != OWN:
            wish = {"controller": controller} if controller else {}
            buffer_s = BUFFER_S if abr == DRIVEN else ADVISED_BUFFER_S
            opened = await opened_session(url, title.id, buffer_max_s=buffer_s, **wish)
            source = opened["manifest_url" if abr == DRIVEN else "advised_url"].removeprefix("/")
            how = {"buffer_s": buffer_s} if abr == DRIVEN else {}
        limit_s = LIMIT_FACTOR * title.duration_s
        viewing, page = await watch(browser, theatre, player, link.url + source, limit_s=limit_s, **how)
        if viewing.errors:
            raise click.ClickException(f"{abr} on {trace.name} failed: {viewing.errors} {page.complaints}")
        if abr != OWN:
            await _tell_decisions(url, opened["id"])
    return judge(trace.name, abr, title, viewing)


async def _tell_decisions(url: str, session_id: str) -> None:
    from stock_players import decisions

    for event in await decisions(url, session_id):
        last = event.seen.downloads[-1] if event.seen and event.seen.downloads else None
        buffer_s = event.seen.buffer_s if event.seen else 0.0
        click.echo(
            f"{event.t_s:6.2f} s  segment {event.segment:3d} {event.rendition:>5} {event.advised:>5}  "
            f"{event.size_bytes / 1e3:6.1f} kB  buffer {buffer_s:4.1f} s  last {last}  {event.reason}",
            err=True,
        )


@click.command(context_settings={"show_default": True})
@click.argument("library", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("title")
@click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--player", default="dashjs-5", help="Which stock player.")
@click.option("--server", type=click.Choice([DRIVEN, ADVISED]), default=DRIVEN, help="What the server's viewer plays.")
@click.option("--controller", default="", help="Who decides on the server.  [default: the server's own]")
@click.option("--start-s", type=click.FloatRange(0), default=0.0, help="Begin this far into each trace.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def compare(
    library: Path,
    title: str,
    traces: tuple[Path, ...],
    player: str,
    server: str,
    controller: str,
    start_s: float,
    as_json: bool,
) -> None:
    """A stock player's own ABR against the server's."""
    known = Library(library).title(title)

    async def run() -> list[Watched]:
        results: list[Watched] = []
        for path in traces:
            trace = read_trace(path).begun_at(start_s)
            views = (_view(trace, abr, library, known, player, controller) for abr in (OWN, server))
            results += await asyncio.gather(*views)
            click.echo(f"{results[-2]}\n{results[-1]}", err=True)
        return results

    results = asyncio.run(run())
    if as_json:
        click.echo(dumps(results).decode())
    else:
        _show(results)


def _show(results: list[Watched]) -> None:
    table = Table("trace", "ABR", "QoE", "VMAF", "changes", "stalls", "start-up", "switches")
    for seen in results:
        switches = sum(a != b for a, b in pairwise(seen.heights))
        stalls = f"{seen.stalls}, {seen.stall_s:.1f} s"
        numbers = (f"{seen.qoe:.1f}", f"{seen.vmaf:.1f}", f"{seen.oscillation:.1f}")
        table.add_row(seen.trace, seen.abr, *numbers, stalls, f"{seen.startup_s:.1f} s", str(switches))
    for abr in dict.fromkeys(seen.abr for seen in results):
        mine = [seen for seen in results if seen.abr == abr]
        table.add_row("mean", abr, f"{fmean(s.qoe for s in mine):.1f}", f"{fmean(s.vmaf for s in mine):.1f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    compare()

"""Viewers of one title behind one emulated link: decided together, decided alone, and stock dash.js by its own ABR.

    python tests/bench/shared_link.py LIBRARY TITLE TRACE... [--viewers 12] [--apart-s 4] [--json]

All viewers share the link and begin one after the other. Ours are processes of `toprung play` without enhancers, in
real time. dash.js plays the standard manifest, each viewer in a page of its own of one headless Chromium; what it shows
is judged as in stock_qoe.py. Jain's index is that of the viewers' mean quality (Jain, Chiu and Hawe 1984, section 2).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import click
from rich.console import Console
from rich.table import Table
from stock_qoe import LIMIT_FACTOR, OWN, judge

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from browser import chromium
from serve_process import served
from stock_players import stage, watch

from abr.core.title import Title
from abr.records import Record, dumps
from abr.simulation.trace_formats import read_trace
from abr.simulation.traces import Trace
from client_player.emulate.proxy import emulating
from server.media.library import Library

GROUP = "the-link"
TOGETHER, ALONE, DASHJS = "together", "alone", "dash.js, its own ABR"


class Seen(Record, frozen=True):
    """What one viewer saw."""

    qoe: float
    vmaf: float
    stall_s: float
    switches: int


class Audience(Record, frozen=True):
    """All viewers of one run, in the order in which they began."""

    trace: str
    way: str
    viewers: tuple[Seen, ...]

    def mean(self, name: str) -> float:
        """Of one figure."""
        return fmean(getattr(each, name) for each in self.viewers)

    @property
    def jain(self) -> float:
        """Of mean VMAF, 1 when all saw the same."""
        vmaf = [each.vmaf for each in self.viewers]
        return sum(vmaf) ** 2 / (len(vmaf) * sum(value**2 for value in vmaf))


async def _play(url: str, title: Title, *options: str) -> Seen:
    command = (
        sys.executable,
        "-m",
        "abr",
        "play",
        url,
        "--title",
        title.id,
        "--families",
        "none",
        "--json",
        *options,
    )
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    if process.returncode:
        raise click.ClickException(f"A viewer failed with exit code {process.returncode}.")
    summary = json.loads(told)
    return Seen(
        qoe=summary["qoe"],
        vmaf=summary["vmaf_promised"],
        stall_s=summary["stall_s"],
        switches=summary["switches"],
    )


async def _one_after_another(count: int, apart_s: float, view: Callable[[], Awaitable[Seen]]) -> tuple[Seen, ...]:
    async def later(number: int) -> Seen:
        await asyncio.sleep(number * apart_s)
        return await view()

    return tuple(await asyncio.gather(*(later(number) for number in range(count))))


async def _with_ours(url: str, title: Title, count: int, apart_s: float, *options: str) -> tuple[Seen, ...]:
    return await _one_after_another(count, apart_s, lambda: _play(url, title, *options))


async def _with_dashjs(url: str, title: Title, trace: Trace, count: int, apart_s: float) -> tuple[Seen, ...]:
    limit_s = LIMIT_FACTOR * title.duration_s + count * apart_s
    async with stage() as theatre, chromium() as browser:

        async def view() -> Seen:
            manifest = f"{url}titles/{title.id}/manifest.mpd"
            viewing, page = await watch(browser, theatre, "dashjs-5", manifest, limit_s=limit_s)
            if viewing.errors:
                raise click.ClickException(f"dash.js failed: {viewing.errors} {page.complaints}")
            found = judge(trace.name, OWN, title, viewing)
            switches = sum(before != after for before, after in pairwise(found.heights))
            return Seen(qoe=found.qoe, vmaf=found.vmaf, stall_s=found.stall_s, switches=switches)

        return await _one_after_another(count, apart_s, view)


async def _audience(way: str, trace: Trace, library: Path, title: Title, count: int, apart_s: float) -> Audience:
    with served("--library", str(library), "--log-level", "warning") as server:
        async with emulating(trace, server) as link:
            if way == DASHJS:
                viewers = await _with_dashjs(link.url, title, trace, count, apart_s)
            else:
                options = ("--group", GROUP) if way == TOGETHER else ()
                viewers = await _with_ours(link.url, title, count, apart_s, *options)
    return Audience(trace=trace.name, way=way, viewers=viewers)


@click.command(context_settings={"show_default": True})
@click.argument("library", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("title")
@click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--viewers", type=click.IntRange(2, 64), default=12)
@click.option("--apart-s", type=click.FloatRange(0), default=4.0, help="Seconds between one viewer and the next.")
@click.option("--way", "ways", multiple=True, type=click.Choice([TOGETHER, ALONE, DASHJS]), help="[default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def compare(
    library: Path,
    title: str,
    traces: tuple[Path, ...],
    viewers: int,
    apart_s: float,
    ways: tuple[str, ...],
    as_json: bool,
) -> None:
    """Viewers behind one link."""
    known = Library(library).title(title)
    found: list[Audience] = []
    for path in traces:
        for way in ways or (ALONE, TOGETHER, DASHJS):
            found.append(asyncio.run(_audience(way, read_trace(path), library, known, viewers, apart_s)))
            click.echo("  ".join(_row(found[-1])), err=True)
    if as_json:
        click.echo(dumps(found).decode())
    else:
        _show(found)


def _row(seen: Audience) -> tuple[str, ...]:
    worst, stalls_s = min(each.qoe for each in seen.viewers), sum(each.stall_s for each in seen.viewers)
    numbers = (seen.mean("qoe"), worst, seen.mean("vmaf"), stalls_s, seen.mean("switches"))
    return (seen.trace, seen.way, *(f"{number:.1f}" for number in numbers), f"{seen.jain:.3f}")


def _show(found: Sequence[Audience]) -> None:
    table = Table("trace", "who decides", "QoE", "worst", "VMAF", "stalls of all, s", "switches", "Jain's index")
    for seen in found:
        table.add_row(*_row(seen))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    compare()

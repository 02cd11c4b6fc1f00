"""`toprung list`, `show` and `remove`: the titles of a library, read without decoding anything."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from abr.errors import FormatError, InputError, StorageError, UnknownNameError

if TYPE_CHECKING:
    from server.media.library import Library
    from server.media.live_title import LiveTitle
    from server.media.summary import TitleSummary

library_option = click.option(
    "--library",
    "root",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of titles.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command("list")
@library_option
@_json
def list_titles(root: Path, as_json: bool) -> None:
    """List the titles of a library: length, size, rungs, enhancers. Live ones are named on stderr.

    A damaged title is named on stderr, and the exit code is then 1.
    """
    from server.media.library import Library
    from server.media.live_title import load_live

    library = Library(root)
    damaged: dict[str, str] = {}
    found = list(_summaries(library, damaged))
    live: dict[str, LiveTitle] = {}
    for name in library.live_titles():
        try:
            live[name] = load_live(root / name)
        except (FormatError, StorageError) as error:
            damaged[name] = str(error)
    if as_json:
        states = {name: each.state_at(time.time()) for name, each in live.items()}
        _print_json({"library": str(root), "titles": found, "damaged": damaged, "live": states})
    elif found:
        _print_table(found)
    elif not damaged and not live:
        click.echo(f"{root} holds no titles: add one with toprung prepare FILE --library {root}.", err=True)
    for sentence in (*(each.describe(time.time()) for each in live.values() if not as_json), *damaged.values()):
        click.echo(f"toprung: {sentence}", err=True)
    if damaged:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("title")
@library_option
@_json
def show(title: str, root: Path, as_json: bool) -> None:
    """Show one TITLE: its source, its renditions with bitrate and quality, its enhancers and what they lift."""
    from server.media.library import Library
    from server.media.live_title import load_live
    from server.media.summary import details_of

    library = Library(root)
    if library.has_live(title):
        raise InputError(f"{load_live(root / title).describe(time.time())} It can be shown once it is kept (--keep).")
    details = details_of(library.title(title), library.enhancements(title), root / title)
    if as_json:
        _print_json(details)
    else:
        click.echo(details.as_text())


@click.command()
@click.argument("titles", nargs=-1, required=True, metavar="TITLE...")
@library_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
def remove(titles: tuple[str, ...], root: Path, yes: bool, as_json: bool) -> None:
    """Remove each TITLE from the library, with its enhancers and its unfinished training.

    Asks first. Sources are not touched. A title that is being trained is not removed.
    """
    from server.media.library import Library
    from server.media.removal import remove_title

    library, names = Library(root), tuple(dict.fromkeys(titles))
    known = [*library.titles(), *library.live_titles()]
    for name in names:
        if name not in known:
            raise UnknownNameError("title", name, known)
    if not yes and not _confirm(names, root):
        click.echo("Nothing was removed.", err=True)
        raise click.exceptions.Exit(1)
    folders = [remove_title(library, name) for name in names]
    if as_json:
        _print_json({"library": str(root), "removed": names})
    else:
        for folder in folders:
            click.echo(folder)


def _confirm(names: Sequence[str], root: Path) -> bool:
    try:
        return click.confirm(f"Remove {', '.join(names)} from {root} for good?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise InputError("Nobody is there to be asked: give --yes to remove without asking.") from None


def _summaries(library: Library, damaged: dict[str, str]) -> Iterator[TitleSummary]:
    """Of each whole title; a sentence about each of the others goes into `damaged`."""
    from server.media.summary import summary_of

    for name in library.titles():
        try:
            yield summary_of(library.title(name), library.enhancements(name))
        except UnknownNameError:
            continue  # removed meanwhile
        except (FormatError, StorageError) as error:
            damaged[name] = str(error)


def _print_table(found: Sequence[TitleSummary]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("title", no_wrap=True),
        Column("s", justify="right"),
        Column("MB", justify="right"),
        "display",
        "rungs",
        "enhancers",
    )
    for title in found:
        display = f"{title.display_width_px}x{title.display_height_px}"
        cells = (f"{title.duration_s:.2f}", f"{title.size_bytes / 1e6:.1f}", display)
        table.add_row(title.title, *cells, " ".join(title.renditions), " ".join(title.enhancers))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _print_json(record: object) -> None:
    click.echo(msgspec.json.encode(record).decode())

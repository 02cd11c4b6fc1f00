"""`toprung play` and `toprung report`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.finite_range import FiniteRange

if TYPE_CHECKING:
    from abr.core.device import DeviceProfile
    from abr.core.enhancement import Family
    from abr.media.video_codecs import VideoCodec
    from client_player.private.reporter import PrivateReporter
    from client_player.session.request import PlayRequest
    from client_player.session.run import SessionOutcome

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
title_folder = click.option(
    "--title",
    "folder",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a prepared title, inside its library.",
)

_INTERRUPTED = 130
"""Exit code of a program that SIGINT ended, as shells have it."""


@click.command(context_settings={"show_default": True})
@click.argument("url")
@click.option("--trace", type=FILE, help="Shape the network to this trace (Sabre JSON, Pensieve, Mahimahi, CSV).")
@click.option("--trace-start-s", type=FiniteRange(0), default=0.0, help="Begin this far into the trace.")
@click.option("--title", default="", help="Which title, if the server has several.")
@click.option("--families", default="content,generic,own", help="Enhancers to allow: none, or some of these.")
@click.option(
    "--quality",
    "currency",
    type=click.Choice(["trusted", "vmaf"]),
    default="trusted",
    help="What counts, with --local.",
)
@click.option(
    "--qoe", "qoe_file", type=FILE, help="Count quality as people do: a file of `toprung qoe fit`, the server's own."
)
@click.option("--controller", default="", help="Who decides, by its name on the server.  [default: the server's]")
@click.option("--group", default="", help="Name of the link that you share: the server decides for all who tell it.")
@click.option("--language", default="", help="Sound in this language, such as de.  [default: the title's first]")
@click.option("--codec", "codecs", default="", help="Only in these: h264, hevc, av1.  [default: all that play here]")
@click.option(
    "--key-file",
    type=FILE,
    help="Keys of protected titles: a JSON Web Key set.  [default: the environment's TOPRUNG_KEY]",
)
@click.option("--local", is_flag=True, help="Decide here, by any standard manifest; --controller may be FILE.py:CLASS.")
@click.option("--profile", type=FILE, help="Device profile.  [default: what `toprung profile` left behind]")
@click.option(
    "--energy",
    type=click.Choice(["quality", "balanced", "saver", "auto"]),
    default="quality",
    help="What the device's energy is for; auto goes by the battery.",
)
@click.option("--buffer-max-s", type=FiniteRange(4, 3600), default=30.0, help="Most media to hold.")
@click.option("--speed", type=click.Choice(["real", "max"]), default="real", help="max skips time in which all wait.")
@click.option("--sink", default="null", help="Where frames go: null, y4m:PATH or png:FOLDER.")
@click.option("--every", type=click.IntRange(min=1), default=24, help="png: one frame in this many.")
@click.option("--source", type=FILE, help="The title's source file, to measure the quality truly seen.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for log, summary and report.")
@click.option("--private-telemetry", is_flag=True, help="Tell what you see in sums over cohorts only.")
@click.option("--private-wait-s", type=FiniteRange(0), default=330.0, help="Wait so long for a cohort at the end.")
@click.option(
    "--keep-came",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what comes of low rungs here, 64 MiB at most, for `toprung federate join`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def play(
    url: str,
    trace: Path | None,
    trace_start_s: float,
    title: str,
    families: str,
    currency: str,
    qoe_file: Path | None,
    controller: str,
    group: str,
    language: str,
    codecs: str,
    key_file: Path | None,
    local: bool,
    profile: Path | None,
    energy: str,
    buffer_max_s: float,
    speed: str,
    sink: str,
    every: int,
    source: Path | None,
    out: Path | None,
    private_telemetry: bool,
    private_wait_s: float,
    keep_came: Path | None,
    as_json: bool,
) -> int:
    """Play a title headless: really download, decode and enhance every frame, each by its deadline.

    URL is that of a Toprung server, or of a title's manifest on one; with --local, of any static DASH manifest.
    Ctrl-C stops and still writes what was seen.
    """
    from abr.core.enhancement import Currency
    from abr.media.content_keys import known_keys
    from abr.opinions.fitted import load_qoe
    from abr.simulation.trace_formats import read_trace
    from client_player.session.request import PlayRequest
    from client_player.transport.http import check_url

    if private_telemetry:
        from abr.secure_aggregation.secrets import load_libraries

        load_libraries()
    check_url(url)
    allowed = allowed_families(families)
    enhancing = bool(allowed) and can_enhance()
    request = PlayRequest(
        url=url,
        title=title,
        trace=read_trace(trace).begun_at(trace_start_s) if trace else None,
        families=allowed,
        currency=Currency(currency),
        qoe=load_qoe(qoe_file) if qoe_file else None,
        controller=controller,
        group=group,
        language=language,
        codecs=_allowed_codecs(codecs),
        keys=known_keys(key_file),
        local=local,
        buffer_max_s=buffer_max_s,
        virtual_time=speed == "max",
        sink=sink,
        every=every,
        source_file=source,
        out=out,
        private_telemetry=private_telemetry,
        keep_came=keep_came,
        slow_enhancers_file=_slow_enhancers_file() if enhancing and not profile else None,
        profile=_with_wish(own_profile(profile), energy) if enhancing else None,  # last: it may measure for a while
    )
    outcome = _play_with_progress(request)
    _print_outcome(outcome, out, as_json)
    if outcome.reporter:
        _hand_in(outcome.reporter, private_wait_s)
    if failures := outcome.summary.controller_failures:
        from abr.errors import ControllerError

        raise ControllerError(
            f"Controller {outcome.summary.controller} failed {failures} times, and the lowest rung played in its place;"
            " the reasons of these segments say why."
        )
    return _INTERRUPTED if outcome.summary.partial else 0


@click.command(context_settings={"show_default": True})
@click.argument("log", type=FILE)
@click.option("--library", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Library of the title.")
@click.option("--title-url", default="", help="URL of the title's folder on a server, instead.")
@click.option("--trace", type=FILE, help="Network trace to draw.  [default: the trace.json beside the log]")
@click.option("--qoe", "qoe_file", type=FILE, help="The file of `toprung qoe fit` that the session counted quality by.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"))
def report(
    log: Path, library: Path | None, title_url: str, trace: Path | None, qoe_file: Path | None, output: Path
) -> None:
    """Make the HTML report of a session log: one self-contained page.

    Title and measured quality are those that `toprung play --out` left beside the log, unless you say otherwise.
    """
    from abr.opinions.fitted import load_qoe
    from client_player.session.archive import open_archive
    from client_player.session.report import write_report

    qoe = load_qoe(qoe_file) if qoe_file else None
    write_report(open_archive(log, library=library, title_url=title_url, trace=trace, qoe=qoe), output)
    click.echo(output)


def _play_with_progress(request: PlayRequest) -> SessionOutcome:
    from client_player.session.progress import PlayProgress
    from client_player.session.run import play as play_session

    with PlayProgress() as progress:
        return play_session(
            request, listener=progress.show_event, on_bytes=progress.count_bytes, on_measured=progress.count_measured
        )


def _print_outcome(outcome: SessionOutcome, out: Path | None, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from abr.records import dumps
    from client_player.session.summary import as_table

    if as_json:
        click.echo(dumps(outcome.summary).decode())
        return
    table = Table(title=f"{outcome.summary.title}, {outcome.summary.controller}", show_header=False)
    for row in as_table(outcome.summary):
        table.add_row(*row)
    Console().print(table)
    if out is not None:
        click.echo(f"Report: {out / 'report.html'}", err=True)


def _hand_in(reporter: PrivateReporter, wait_s: float) -> None:
    """To stderr: it is about the session, and no part of its figures."""
    with _status("Handing in private telemetry with others (Ctrl-C leaves it) …"):
        handed_in = reporter.finish(wait_s)
    sums = "the sum of one round" if handed_in.rounds == 1 else f"the sums of {handed_in.rounds} rounds"
    of = f"in {sums}, the last of {handed_in.survivors} players"
    if handed_in.problem:
        what = of if handed_in.rounds else "not handed in"
        click.echo(f"Private telemetry: {what}; {handed_in.problem.rstrip('.')}.", err=True)
    else:
        click.echo(f"Private telemetry: {of}.", err=True)


def allowed_families(text: str) -> tuple[Family, ...]:
    """The families that `--families` names. Raises InputError for unknown ones."""
    from abr.core.enhancement import Family
    from abr.errors import InputError

    names = [] if text.strip() == "none" else [name.strip() for name in text.split(",")]
    known = [family.value for family in Family]
    if any(name not in known for name in names):
        raise InputError(f"--families is {text!r}; give none, or some of {', '.join(known)} with commas between.")
    return tuple(Family(name) for name in names)


def _allowed_codecs(text: str) -> tuple[VideoCodec, ...]:
    """Those of `--codec` that can be decoded here. Raises InputError for others."""
    from abr.errors import InputError
    from client_player.decoder import decoded_codecs

    here = decoded_codecs()
    names = [name.strip() for name in text.split(",")] if text else list(here)
    if unknown := [name for name in names if name not in here]:
        raise InputError(f"--codec names {unknown[0]!r}; this player decodes {', '.join(here)}.")
    return tuple(codec for codec in here if codec in names)


def can_enhance() -> bool:
    """Whether the packages for it are installed; says so when they are not."""
    from abr.extras import MissingExtraError, require

    try:
        require("Enhancement", "player")
    except MissingExtraError as error:
        click.echo(f"Playing without enhancement. {error}", err=True)
        return False
    return True


def own_profile(path: Path | None) -> DeviceProfile | None:
    """The profile given, or else this device's own, measured quickly if it has never been."""
    from abr.core.device import DeviceProfile
    from abr.errors import ToprungError
    from abr.records import load

    if path is not None:
        return load(path, DeviceProfile)
    from enhancers.measurement.device_profile import ProfileRequest, profile_device

    try:
        with _status("Measuring how fast this device enhances (once) …"):
            _, found = profile_device(None, ProfileRequest(quick=True), lambda _what, _done: None)
    except ToprungError as error:
        click.echo(f"Playing without enhancement, since this device cannot be measured: {error}", err=True)
        return None
    return found


def _with_wish(profile: DeviceProfile | None, energy: str) -> DeviceProfile | None:
    """The profile with what the viewer wants energy spent for."""
    import msgspec

    from abr.core.device import Wish
    from enhancers.profiling.machine import wish_of_power

    wish = wish_of_power() if energy == "auto" else Wish(energy)
    return profile and msgspec.structs.replace(profile, wish=wish)


def _slow_enhancers_file() -> Path:
    """Beside this device's own profile."""
    from abr.files import cache_folder
    from client_player.playback.slow_enhancers import SLOW_ENHANCERS_FILE

    return cache_folder() / SLOW_ENHANCERS_FILE


def _status(text: str) -> AbstractContextManager[object]:
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(text) if console.is_terminal else nullcontext()

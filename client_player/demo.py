"""`toprung demo`: the whole of Toprung on a real clip, over a real 3G trace, one command after the other.

Every step is the command that a user would type, in a process of its own; this module only strings them together and
sets their results side by side.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from abr.errors import ToprungError
from client_player.serving import command, serve_arguments, serving

SAMPLE = Path(__file__).parent / "sample"
TITLE = "bbb_60s"
SOURCE = SAMPLE / f"{TITLE}.mp4"
AUDIO_BITRATE = "64k"
"""On 3G, sound at the usual 128 kbit/s would cost as much as the lowest rung of the picture."""
METERED = ("--vmaf-every", 13)
"""Half as many frames scored as usual, to be quick; like the usual step it shares no factor with a segment's frames."""
KEYS = ("frames", "vmaf_seen", "vmaf_neg_seen", "vmaf_promised", "stall_s", "mbytes", "enhanced_share", "late_frames")
"""What summary.json says of each viewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """One of the viewers set side by side: its key in summary.json, what it may enhance with, and its name."""

    key: str
    families: str
    label: str


VIEWERS = (
    Viewer(key="plain", families="none", label="plain"),
    Viewer(key="generic", families="generic", label="generic"),
    Viewer(key="content_aware", families="content", label="content-aware"),
)


@click.command(context_settings={"show_default": True})
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/demo"), help="Results.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=SAMPLE / "traces" / "norway3g_2011-01-04_0820CET.json",
    help="Network trace that all viewers watch over.",
)
@click.option("--trace-start-s", type=click.FloatRange(0), default=345.0, help="Begin this far into the trace.")
@click.option("--train-seconds", type=click.IntRange(min=0), default=60, help="Training to watch; 0 skips it.")
def demo(out: Path, trace: Path, trace_start_s: float, train_seconds: int) -> None:
    """Prepare, train, serve and play a real clip over a real 3G trace, and compare three viewers."""
    started_s = time.monotonic()
    talk = Console(stderr=True)
    library = out / "library"
    profile = out / "device.json"
    out.mkdir(parents=True, exist_ok=True)
    with _step(talk, "Encode the clip once into a bitrate ladder, and measure each rung"):
        _toprung(talk, "prepare", SOURCE, "--library", library, "--audio-bitrate", AUDIO_BITRATE, *METERED)
    with _step(talk, "Measure how fast this device enhances"):
        _toprung(talk, "profile", "--quick", "--output", profile)
    with _step(talk, "Attach the sample's trained enhancers, and measure what each one buys"):
        _toprung(talk, "train", TITLE, "--library", library, "--source", SOURCE, "--weights", SAMPLE / "weights")
    if train_seconds:
        with _step(talk, f"Train the smallest tier for {train_seconds} s, to see it work (kept apart)"):
            trial = ("--tiers", "low", "--seconds", train_seconds, "--dry-run")
            _toprung(talk, "train", TITLE, "--library", library, "--source", SOURCE, *trial)
    viewers: dict[str, dict[str, Any]] = {}
    _say(talk, *serve_arguments(library))
    with serving(library) as url:
        for viewer in VIEWERS:
            with _step(talk, f"Play over {trace.stem}: {viewer.label}"):
                network = ("--trace", trace, "--trace-start-s", trace_start_s)
                device = ("--profile", profile, "--speed", "max")
                folder = out / viewer.key
                asked = ("--title", TITLE, "--families", viewer.families, "--source", SOURCE, "--out", folder)
                _toprung(talk, "play", url, *asked, *network, *device)
                viewers[viewer.key] = json.loads((folder / "summary.json").read_text())
    summary = {
        "viewers": {key: {name: result[name] for name in KEYS} for key, result in viewers.items()},
        "title": TITLE,
        "trace": trace.name,
        "trace_start_s": trace_start_s,
        "seconds": round(time.monotonic() - started_s, 1),
    }
    path = out / "summary.json"
    path.write_text(json.dumps(summary, indent=1) + "\n")
    _show(viewers, out)
    talk.print(f"Took {summary['seconds']} s. Figures: {path}", soft_wrap=True)


def _show(viewers: dict[str, dict[str, Any]], out: Path) -> None:
    table = Table(title="The same trace, the same controller, three viewers")
    for heading in ("viewer", "VMAF", "NEG", "promised", "stalls s", "MB", "enhanced", "late"):
        table.add_column(heading, justify="left" if heading == "viewer" else "right")
    for viewer in VIEWERS:
        figures = viewers[viewer.key]
        table.add_row(
            viewer.label,
            f"{figures['vmaf_seen']:.1f}",
            f"{figures['vmaf_neg_seen']:.1f}",
            f"{figures['vmaf_promised']:.1f}",
            f"{figures['stall_s']:.1f}",
            f"{figures['mbytes']:.2f}",
            f"{figures['enhanced_share']:.0%}",
            f"{figures['late_frames'] / figures['frames']:.1%}",
        )
    console = Console()
    console.print(table)
    for viewer in VIEWERS:
        console.print(f"Report, {viewer.label}: {out / viewer.key / 'report.html'}", soft_wrap=True)


@contextmanager
def _step(talk: Console, words: str) -> Iterator[None]:
    started_s = time.monotonic()
    talk.print(f"\n[bold]{words}[/bold]")
    yield
    talk.print(f"[dim]{time.monotonic() - started_s:.0f} s[/dim]")


def _toprung(talk: Console, *arguments: object) -> None:
    """Run one subcommand; its talk goes to the terminal. Raises ToprungError when it fails."""
    _say(talk, *arguments)
    code = subprocess.run(command(*arguments), stdout=sys.stderr, check=False).returncode
    if code:
        raise ToprungError(f"`toprung {arguments[0]}` ended with exit code {code}; what went wrong is said above.")


def _say(talk: Console, *arguments: object) -> None:
    talk.print(f"[dim]$ toprung {shlex.join(map(str, arguments))}[/dim]", soft_wrap=True, highlight=False)

"""`toprung demo`: the whole of Toprung on a real clip, over a real 3G trace, one command after the other.

Every step is the command that a user would type, in a process of its own; this module only strings them together and
sets their results side by side.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jinja2
from rich.console import Console
from rich.table import Table

from abr.extras import require
from abr.finite_range import FiniteRange
from client_player.demo_steps import print_command, run_toprung, step
from client_player.server_process import serve_arguments, serving

SAMPLE = Path(__file__).parent / "sample"
TITLE = "bbb_60s"
SOURCE = SAMPLE / f"{TITLE}.mp4"
AUDIO_BITRATE = "64k"
"""On 3G, sound at the usual 128 kbit/s would cost as much as the lowest rung of the picture."""
METERED = ("--vmaf-every", 13, "--panel-every", 5)
"""Half as many frames scored as usual, to be quick; like the usual step it shares no factor with a segment's frames."""
OVERVIEW_FILE = "index.html"
KEYS = (
    *("frames", "quality_seen", "quality_promised", "vmaf_seen", "vmaf_neg_seen", "vmaf_promised", "panel_seen"),
    *("panel_plain", "stall_s", "mbytes", "enhanced_share", "late_frames"),
)
"""What summary.json says of each viewer."""


_MEMBERS = {"ssimulacra2": "SSIMULACRA 2", "psnr_hvs_db": "PSNR-HVS", "ms_ssim": "MS-SSIM", "erqa": "ERQA"}
_DIGITS = {"ssimulacra2": 1, "psnr_hvs_db": 2, "ms_ssim": 4, "erqa": 3}
"""Members of the panel that the table shows: their names in it, and digits after the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoViewer:
    """One of the viewers set side by side: its key in summary.json, what it may enhance with, and its name."""

    key: str
    families: str
    label: str


VIEWERS = (
    DemoViewer(key="plain", families="none", label="plain"),
    DemoViewer(key="generic", families="generic", label="generic"),
    DemoViewer(key="content_aware", families="content", label="content-aware"),
)


@click.command(context_settings={"show_default": True})
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/demo"), help="Results.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=SAMPLE / "traces" / "norway3g_2011-01-04_0820CET.json",
    help="Network trace that all viewers watch over.",
)
@click.option("--trace-start-s", type=FiniteRange(0), default=345.0, help="Begin this far into the trace.")
@click.option("--live", "is_live", is_flag=True, help="The clip as a live stream instead, learnt while it runs.")
@click.option("--live-seconds", type=click.IntRange(min=20), default=180, help="With --live, how long it runs.")
@click.option("--train-seconds", type=click.IntRange(min=0), default=60, help="Training to watch; 0 skips it.")
def demo(out: Path, trace: Path, trace_start_s: float, is_live: bool, live_seconds: int, train_seconds: int) -> None:
    """Prepare, train, serve and play a real clip over a real 3G trace, and compare three viewers."""
    require("The demo", "train")
    if is_live:
        from client_player.live_demo.command import demo_live

        demo_live(SOURCE, out, (trace, trace_start_s), live_seconds)
        return
    started_s = time.monotonic()
    console = Console(stderr=True)
    library = out / "library"
    profile = out / "device.json"
    out.mkdir(parents=True, exist_ok=True)
    with step(console, "Encode the clip once into a bitrate ladder, and measure each rung"):
        run_toprung(console, "prepare", SOURCE, "--library", library, "--audio-bitrate", AUDIO_BITRATE, *METERED)
    with step(console, "Measure how fast this device enhances"):
        run_toprung(console, "profile", "--quick", "--force", "--output", profile)
    with step(console, "Attach the sample's trained enhancers, and measure what each one buys"):
        sample = ("--weights", SAMPLE / "weights", "--no-plans")
        run_toprung(console, "train", TITLE, "--library", library, "--source", SOURCE, *sample)
    if train_seconds:
        with step(console, f"Train the smallest tier for {train_seconds} s, to see it work (kept apart)"):
            trial = ("--tiers", "low", "--seconds", train_seconds, "--dry-run")
            run_toprung(console, "train", TITLE, "--library", library, "--source", SOURCE, *trial)
    viewers: dict[str, dict[str, Any]] = {}
    print_command(console, *serve_arguments(library))
    with serving(library) as url:
        for viewer in VIEWERS:
            with step(console, f"Play over {trace.stem}: {viewer.label}"):
                network = ("--trace", trace, "--trace-start-s", trace_start_s)
                device = ("--profile", profile, "--speed", "max")
                folder = out / viewer.key
                asked = ("--title", TITLE, "--families", viewer.families, "--source", SOURCE, "--out", folder)
                run_toprung(console, "play", url, *asked, *network, *device)
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
    (out / OVERVIEW_FILE).write_text(render_overview(summary), encoding="utf-8")
    _show(viewers, out)
    console.print(f"Took {summary['seconds']} s. Figures: {path}", soft_wrap=True)


_HEADINGS = ("viewer", "quality", "VMAF", "NEG", *_MEMBERS.values(), "stalls s", "MB", "enhanced", "late")


def _format_figures(figures: dict[str, Any]) -> tuple[str, ...]:
    """What each column but the first says of one viewer."""
    return (
        f"{figures['quality_seen']:.1f}",
        f"{figures['vmaf_seen']:.1f}",
        f"{figures['vmaf_neg_seen']:.1f}",
        *(_member(figures["panel_seen"], name) for name in _MEMBERS),
        f"{figures['stall_s']:.1f}",
        f"{figures['mbytes']:.2f}",
        f"{figures['enhanced_share']:.0%}",
        f"{figures['late_frames'] / max(1, figures['frames']):.1%}",
    )


def _member(panel: dict[str, float] | None, name: str) -> str:
    return f"{panel[name]:.{_DIGITS[name]}f}" if panel and name in panel else "–"


def render_overview(summary: dict[str, Any]) -> str:
    """The page that sets the three viewers' reports side by side, from what summary.json holds."""
    viewers = summary["viewers"]
    best_seen = max(viewers[viewer.key]["quality_seen"] for viewer in VIEWERS)
    rows = [
        {
            "label": viewer.label,
            "report": f"{viewer.key}/report.html",
            "cells": [
                {"text": text, "best": column == 0 and viewers[viewer.key]["quality_seen"] == best_seen}
                for column, text in enumerate(_format_figures(viewers[viewer.key]))
            ],
        }
        for viewer in VIEWERS
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("client_player", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("demo.html.j2").render(summary | {"headings": _HEADINGS, "rows": rows})


def _show(viewers: dict[str, dict[str, Any]], out: Path) -> None:
    table = Table(title="The same trace, the same controller, three viewers")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "viewer" else "right")
    for viewer in VIEWERS:
        table.add_row(viewer.label, *_format_figures(viewers[viewer.key]))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    for viewer in VIEWERS:
        console.print(f"Report, {viewer.label}: {out / viewer.key / 'report.html'}", soft_wrap=True)
    console.print(f"All three side by side: {out / OVERVIEW_FILE}", soft_wrap=True)

"""`toprung serve`, `toprung federate serve` and `toprung embed`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from abr.finite_range import FiniteRange
from abr.time_limit import Duration


@click.command()
@click.option("--library", type=click.Path(file_okay=False), help="Folder of prepared titles.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 lets the system choose.  [default: 8080]")
@click.option("--redis-url", help="Keep sessions in Redis, such as redis://localhost:6379/0.  [default: in memory]")
@click.option("--state", type=click.Path(file_okay=False), help="Keep sessions in a folder, over restarts.")
@click.option("--workers", "worker_count", type=click.IntRange(1, 256), help="Processes to serve with.  [default: 1]")
@click.option("--controller", help="Who decides when a viewer names nobody.  [default: toprung]")
@click.option("--experiment", metavar="NAME=CONTROLLER,…", help="Draw viewers into arms: a=toprung,b=bola.")
@click.option("--viewer-events/--no-viewer-events", default=None, help="Keep what players post.  [default: on]")
@click.option("--private-telemetry", is_flag=True, default=None, help="Sum what players tell in private.")
@click.option("--private-period-s", type=float, help="So long players may join a cohort.  [default: 300]")
@click.option("--private-cohort", type=int, help="Players that a cohort needs, at least 5.  [default: 20]")
@click.option("--quality", type=click.Choice(["trusted", "vmaf"]), help="What decisions count.  [default: trusted]")
@click.option("--qoe", type=click.Path(dir_okay=False), help="Count quality as people do: a file of `toprung qoe fit`.")
@click.option("--rate", type=click.Path(file_okay=False), help="Ask viewers what they think at /rate; keep it here.")
@click.option(
    "--group-by",
    type=click.Choice(["address", "block"]),
    help="Decide together for viewers at one address, or in one block of addresses.  [default: for those who say so]",
)
@click.option(
    "--media-base",
    metavar="URL",
    help="Let a CDN send the bytes: it has below URL what is below /titles here.  [default: all bytes come from here]",
)
@click.option("--add-controller", "controllers", multiple=True, metavar="FILE.py:CLASS", help="Offer your own too.")
@click.option("--config", "config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file of settings.")
@click.option(
    "--fast-path/--no-fast-path",
    default=None,
    help="Answer playing viewers without going through aiohttp, at a fraction of the processor time.  [default: on]",
)
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
@click.option("--log-json", is_flag=True, default=None, help="Log lines as JSON.")
@click.option("--print-config", is_flag=True, help="Print the settings that would be used, as TOML, and stop.")
def serve(config: Path | None, print_config: bool, controllers: tuple[str, ...], **flags: Any) -> None:
    """Serve a library of titles, choosing (rendition, enhancer) for every segment and viewer.

    Settings come from defaults, then --config, then TOPRUNG_* variables, then flags. When ready, one line on stdout
    tells the URL.
    """
    from server.settings import dumps_toml, layered

    settings = layered(config, os.environ, {**flags, "controllers": controllers or None})
    if print_config:
        click.echo(dumps_toml(settings), nl=False)
        return
    from server.logging_setup import configure
    from server.workers import serve as serve_until_told

    configure(settings.log_level, as_json=settings.log_json)
    serve_until_told(settings, lambda port: click.echo(f"http://{_url_host(settings.host)}:{port}/"))


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def embed(folder: Path, as_json: bool) -> None:
    """Write into FOLDER the module that lifts any video on your own pages, with the generic networks.

    A page imports FOLDER/embed/lift.js, and calls lift(video). The folder has to be served from the page's own origin.
    """
    from server.http.embed import write_embed

    size_bytes = write_embed(folder)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "size_bytes": size_bytes}))
        return
    click.echo(f"{folder}: {size_bytes / 1e6:.1f} MB; import {{ lift }} from ./{folder.name}/embed/lift.js")


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("serve", context_settings={"show_default": True})
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--held-out", type=_FILE, multiple=True, required=True, help="A clip to judge by; give it some times.")
@click.option("--scale", type=click.Choice(["1.5", "2", "3", "4"]), default="2", help="Of the network.")
@click.option("--tier", type=click.Choice(["low", "medium", "high"]), default="low", help="Of the network.")
@click.option("--crf", type=FiniteRange(0, 51), default=25.0, help="By which held-out clips are encoded (x264).")
@click.option("--steps", type=click.IntRange(1, 10_000), default=20, help="Of a player's training before a round.")
@click.option("--batch", type=click.IntRange(1, 64), default=16, help="Patches in each of these steps.")
@click.option("--rate", type=FiniteRange(1e-6, 0.1), default=1e-4, help="Learning rate of players, at its highest.")
@click.option("--detail", type=FiniteRange(0, 10), default=0.03, help="Weight of the detail lost, beside the L1 loss.")
@click.option("--norm-max", type=FiniteRange(1e-3, 1000), default=1.0, help="Longer updates are shortened to this.")
@click.option("--period", "period_s", type=Duration(), default="10m", help="So long players may join a round.")
@click.option("--stage", "stage_s", type=Duration(), default="30s", help="For each answer after that.")
@click.option("--cohort", type=click.IntRange(5, 1000), default=20, help="Players that a round needs.")
@click.option("--cohort-max", type=click.IntRange(5, 1000), default=200, help="A round of so many begins at once.")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), help="Serve its titles too.")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="0 lets the system choose.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def federate_serve(
    folder: Path,
    held_out: tuple[Path, ...],
    scale: str,
    tier: str,
    crf: float,
    steps: int,
    batch: int,
    rate: float,
    detail: float,
    norm_max: float,
    period_s: float,
    stage_s: float,
    cohort: int,
    cohort_max: int,
    library: Path | None,
    host: str,
    port: int,
    log_level: str,
) -> None:
    """Let players tune a network together, and keep in FOLDER what is better on clips that they have not seen.

    It begins with the network that the program ships, or with the newest version in FOLDER. When ready, one line on
    stdout tells the URL: what players give to `toprung federate join`.
    """
    from abr.core.enhancement import Tier
    from abr.errors import InputError, StorageError
    from abr.extras import require
    from abr.federation.version import LocalRecipe
    from server.federation.plan import FederationPlan
    from server.logging_setup import configure
    from server.private.rounds import Pace
    from server.settings import Settings
    from server.workers import serve as serve_until_told

    require("Federated tuning", "private", "train")
    if cohort > cohort_max:
        raise InputError(f"A round needs {cohort} players and takes {cohort_max}; let it take more: --cohort-max.")
    titles = library or folder / "titles"
    try:
        titles.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot make {titles}: {error.strerror}.") from error
    plan = FederationPlan(
        folder=folder,
        held_out=held_out,
        scale=float(scale),
        tier=Tier(tier),
        crf=crf,
        recipe=LocalRecipe(steps=steps, batch=batch, rate=rate, detail_weight=detail, frames_full=48),
        norm_max=norm_max,
        pace=Pace(period_s=period_s, stage_s=stage_s, cohort=cohort, members_max=cohort_max),
    )
    configure(log_level, as_json=False)
    settings = Settings(library=str(titles), host=host, port=port, log_level=log_level)
    serve_until_told(settings, lambda port: click.echo(f"http://{_url_host(host)}:{port}/"), plan)

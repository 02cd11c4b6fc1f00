"""`toprung edge`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.finite_range import FiniteRange

if TYPE_CHECKING:
    from abr.core.device import DeviceProfile
    from client_player.edge.assembly import EdgeRequest
    from enhancers.profiling.energy import WatchedMeter

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_LATENCY_S = 0.08
"""Of --backhaul-kbps, as of traces that tell none."""


@click.command(context_settings={"show_default": True})
@click.option("--origin", required=True, metavar="URL", help="The Toprung server whose titles are mirrored.")
@click.option("--cache", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of its own.")
@click.option("--cache-gb", type=FiniteRange(0.01, 1e6), default=16.0, help="Most that the cache may take.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, help="0 lets the system choose.")
@click.option("--backhaul-kbps", type=FiniteRange(1, 1e7), help="Take no more than that from the origin.")
@click.option("--trace", type=FILE, help="Shape the line to the origin to this trace instead.")
@click.option("--families", default="content,generic,own", help="Enhancers to allow: none, or some of these.")
@click.option("--quality", "currency", type=click.Choice(["trusted", "vmaf"]), default="trusted", help="What counts.")
@click.option("--controller", default="toprung", help="Who decides; may be FILE.py:CLASS.")
@click.option("--profile", type=FILE, help="Profile of this machine.  [default: what `toprung profile` left behind]")
@click.option("--lifters", type=click.IntRange(1, 256), help="Segments to lift at once.  [default: one for two cores]")
@click.option(
    "--kwh-per-gb", type=FiniteRange(0, 1e6), default=1.0, help="Energy that a gigabyte saved on the line may take."
)
@click.option("--redis-url", default="", help="Share lifts with the other nodes of this site, through this Redis.")
@click.option("--peer-url", default="", help="Where the other nodes reach this one.  [default: where it listens]")
@click.option("--warm", multiple=True, metavar="TITLE", help="Only lift this title into the cache, ahead of time.")
@click.option("--ray", metavar="ADDRESS", help="--warm on a Ray cluster: local, auto or ray://HOST:PORT.")
@click.option("--log-level", default="info", help="debug, info, warning or error.")
def edge(
    origin: str,
    cache: Path,
    cache_gb: float,
    host: str,
    port: int,
    backhaul_kbps: float | None,
    trace: Path | None,
    families: str,
    currency: str,
    controller: str,
    profile: Path | None,
    lifters: int | None,
    kwh_per_gb: float,
    redis_url: str,
    peer_url: str,
    warm: tuple[str, ...],
    ray: str | None,
    log_level: str,
) -> None:
    """Mirror an origin over a thin line: fetch low rungs and weights once, lift them here, serve any player.

    Viewers get ordinary DASH and HLS at /titles/ID/manifest.mpd and master.m3u8. Devices that lift by themselves play
    /titles/ID/device/manifest.mpd. When ready, one line on stdout tells the URL.
    """
    from abr.core.enhancement import Currency
    from abr.errors import InputError
    from abr.simulation.trace_formats import read_trace
    from abr.simulation.traces import constant
    from client_player.cli import allowed_families, can_enhance, own_profile
    from client_player.edge.assembly import EdgeRequest
    from client_player.edge.run import check, serve
    from server.logging_setup import configure

    if ray and not warm:
        raise InputError("--ray is for --warm: a node that serves lifts by itself.")
    if backhaul_kbps and trace:
        raise InputError("Give one of --backhaul-kbps and --trace: both say how fast the line to the origin is.")
    shaped = read_trace(trace) if trace else constant(backhaul_kbps * 1000, _LATENCY_S) if backhaul_kbps else None
    allowed = allowed_families(families)
    request = EdgeRequest(
        origin=origin,
        cache=cache,
        cache_bytes_max=int(cache_gb * 1e9),
        profile=None,
        families=allowed,
        lifters=lifters or max(1, (os.cpu_count() or 1) // 2),
        controller=controller,
        currency=Currency(currency),
        backhaul=shaped,
        host=host,
        port=port,
        kwh_per_gb_max=kwh_per_gb,
        redis_url=redis_url,
        peer_url=peer_url,
    )
    check(request)
    configure(log_level, as_json=False)
    if allowed and can_enhance() and (measured := own_profile(profile)) is not None:
        request = replace(request, profile=measured, meter=_meter(measured))
    if warm:
        _warm(request, warm, ray)
        return
    asyncio.run(serve(request, click.echo))


def _warm(request: EdgeRequest, titles: tuple[str, ...], ray: str | None) -> None:
    from abr.jobs.pool import make_pool
    from client_player.edge.warm import Warmed, warm

    def tell(found: Warmed) -> None:
        failed = f", {found.failed} could not be" if found.failed else ""
        lifted = f"{found.lifted} of {found.segments} segments are lifted{failed}"
        click.echo(f"{found.title}: {lifted}; {found.cpu_s:.0f} CPU-seconds")

    at_once = None if ray else request.lifters
    asyncio.run(warm(request, titles, lambda: make_pool(ray, at_once, lambda *_progress: None), tell))


def _meter(profile: DeviceProfile) -> WatchedMeter:
    """What this machine's energy is read from; watched at rest for a moment."""
    from abr.core.energy import assumed_power
    from enhancers.profiling.energy import find_meter

    return find_meter(profile.power or assumed_power(profile.device.cores))

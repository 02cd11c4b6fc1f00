"""`toprung emulate`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.finite_range import FiniteRange

if TYPE_CHECKING:
    from abr.simulation.traces import Trace


@click.command(context_settings={"show_default": True})
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Throughput and latency (Sabre JSON, Pensieve, Mahimahi, CSV); begins with the first connection, then loops.",
)
@click.option("--trace-start-s", type=FiniteRange(0), default=0.0, help="Begin this far into the trace.")
@click.option("--upstream", required=True, help="The server behind the link: http://HOST:PORT.")
@click.option("--listen", type=click.IntRange(0, 65535), default=8081, help="Port; 0 lets the system choose.")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
def emulate(trace: Path, trace_start_s: float, upstream: str, listen: int, host: str) -> None:
    """Put a network link in front of a server: any player that asks here gets bytes as the trace lets them through.

    All connections share the link; each request is held back for the trace's latency. When ready, one line on stdout
    tells the URL. Works for whatever speaks HTTP over TCP.
    """
    from abr.simulation.trace_formats import read_trace

    asyncio.run(_emulate(read_trace(trace).begun_at(trace_start_s), upstream, host, listen))


async def _emulate(trace: Trace, upstream: str, host: str, port: int) -> None:
    from client_player.emulate.proxy import emulating

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with emulating(trace, upstream, host=host, port=port) as emulated:
        click.echo(emulated.url)
        await stop.wait()

"""Puts a node together, and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from abr.controllers import make_controller
from abr.core.device import DeviceProfile
from abr.core.enhancement import Currency, Family
from abr.errors import InputError
from abr.simulation.traces import Trace
from abr.virtual_time import SessionClock
from client_player.edge.app import create_edge_app
from client_player.edge.cache.disk_cache import check_folder, open_cache
from client_player.edge.lifts.lift_process import Lifting, lifting
from client_player.edge.lifts.lift_queue import LiftOrder, LiftQueue
from client_player.edge.metrics import EdgeMetrics
from client_player.edge.node import Node
from client_player.edge.origin.backhaul import Backhaul
from client_player.edge.origin.mirror import Mirror
from client_player.edge.origin.titles import Titles
from client_player.edge.pricing import EdgePricing
from client_player.edge.workshop import Workshop
from client_player.transport.http import HttpTransport, Transport, check_url, http_pool
from client_player.transport.trace_shaper import ShapedTransport
from server.open_files import raise_limit

_BACKLOG = 1024
_STOP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRequest:
    """What node to run. backhaul: shapes the line to the origin; None takes it as it is.

    profile: of this machine; None for a node that lifts nothing. lifters: segments that are lifted at once.
    """

    origin: str
    cache: Path
    cache_bytes_max: int
    profile: DeviceProfile | None
    families: Sequence[Family]
    lifters: int
    controller: str = "toprung"
    currency: Currency = Currency.TRUSTED
    backhaul: Trace | None = None
    host: str = "127.0.0.1"
    port: int = 0


async def serve(request: EdgeRequest, announce: Callable[[str], None]) -> None:
    """Run the node until SIGTERM or SIGINT. announce: is given its URL once it listens.

    Raises InputError for what cannot work, StorageError.
    """
    check_url(request.origin)
    make_controller(request.controller)
    check_folder(request.cache)
    raise_limit()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with lifting(request.lifters) as lifters, edge_node(request, lifters) as url:
        announce(url)
        await stop.wait()


@asynccontextmanager
async def edge_node(request: EdgeRequest, lifters: Lifting) -> AsyncIterator[str]:
    """A node that serves while the block runs; yields its URL. Raises InputError, StorageError."""
    async with AsyncExitStack() as stack:
        cache = await asyncio.to_thread(open_cache, request.cache, request.cache_bytes_max)
        stack.callback(cache.close)
        clock, metrics = SessionClock(), EdgeMetrics()
        pool = await stack.enter_async_context(http_pool())
        transport: Transport = HttpTransport(pool, clock)
        if request.backhaul is not None:
            transport = ShapedTransport(transport, request.backhaul, clock)
        backhaul = Backhaul(
            transport,
            request.origin,
            clock,
            lambda kind, size_bytes: metrics.backhaul_bytes.labels(kind).inc(size_bytes),
        )

        def count(order: LiftOrder) -> None:
            metrics.lifts.labels(str(order.outcome)).inc()

        mirror = Mirror(backhaul, cache, clock)
        shop = Workshop(
            mirror=mirror,
            cache=cache,
            clock=clock,
            controller=make_controller(request.controller),
            pricing=EdgePricing(request.profile, request.families, lifters.at_once),
            lifters=lifters,
            queue=LiftQueue(lifters.at_once, clock, count),
            metrics=metrics,
        )
        node = Node(shop, Titles(mirror, request.currency))
        await stack.enter_async_context(node.running())
        yield await stack.enter_async_context(_listening(create_edge_app(node, shop), request.host, request.port))


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise InputError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
        yield f"http://{f'[{host}]' if ':' in host else host}:{site.port}/"
    finally:
        await runner.cleanup()

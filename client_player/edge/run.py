"""Runs a node until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from abr.controllers import make_controller
from abr.errors import InputError
from client_player.edge.app import FIXED_HEADERS, create_edge_app
from client_player.edge.assembly import EdgeRequest, assembled
from client_player.edge.cache.disk_cache import check_folder
from client_player.edge.lifts.lift_process import Lifting, lifting
from client_player.edge.node import Node
from client_player.edge.origin.titles import Titles
from client_player.edge.site.peer_files import url_for_peers
from client_player.edge.site.redis_site import RedisSite
from client_player.transport.http import check_url
from server.connection.accepting import Listener, accepting
from server.open_files import budget, limit, raise_limit
from server.rate_limits import RateLimits
from server.redis_url import read_redis_url
from server.settings import Settings


def check(request: EdgeRequest) -> None:
    """Raises InputError for what cannot work, as far as can be told beforehand."""
    _check_url("--origin", request.origin, "a Toprung server", "http://shore.example:8080/")
    if request.peer_url:
        _check_url(
            "--peer-url", request.peer_url, "this node, as the others of its site reach it", "http://10.0.0.7:8090/"
        )
    if request.redis_url:
        read_redis_url(request.redis_url)
    make_controller(request.controller)
    check_folder(request.cache)


def _check_url(option: str, url: str, what: str, example: str) -> None:
    try:
        check_url(url)
    except InputError as error:
        raise InputError(f"{option} is {url!r}; give the URL of {what}, such as {example}.") from error


async def serve(request: EdgeRequest, announce: Callable[[str], None]) -> None:
    """Run the node until SIGTERM or SIGINT. announce: is given its URL once it listens.

    Raises InputError, StorageError.
    """
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
        shop = await stack.enter_async_context(assembled(request, lifters))
        node = Node(shop, Titles(shop.mirror, request.currency))
        await stack.enter_async_context(node.running())
        settings = Settings(host=request.host, port=request.port)
        limits = RateLimits(settings, connections_max=budget(limit()).connections)
        app = create_edge_app(node, shop, limits, has_peers=bool(request.redis_url))
        url = await stack.enter_async_context(_listening(app, settings, limits))
        if isinstance(shop.site, RedisSite):
            own_url = request.peer_url or await asyncio.to_thread(url_for_peers, url, request.redis_url)
            await stack.enter_async_context(shop.site.joined(own_url, shop.cache.keys))
        yield url


@asynccontextmanager
async def _listening(app: web.Application, settings: Settings, limits: RateLimits) -> AsyncIterator[str]:
    """As `toprung serve` does: connections are bounded, and who says nothing or takes nothing is hung up on."""
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host

    def make_listener(server: web.Server) -> Listener:
        return Listener(settings, limits, server, headers=FIXED_HEADERS)

    timeout_s = settings.shutdown_timeout_s
    async with accepting(app, settings.host, settings.port, make_listener, shutdown_timeout_s=timeout_s) as port:
        yield f"http://{shown}:{port}/"

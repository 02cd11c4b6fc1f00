"""A real server in the running loop, on a real socket of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from abr.controllers import CONTROLLERS
from abr.core.control import Controller
from abr.registry import Registry
from server.app import create_app
from server.connection import listener
from server.settings import Settings


@asynccontextmanager
async def listening(app: web.Application, *, handler_cancellation: bool = False) -> AsyncIterator[str]:
    """Yields the base URL of any `app`. handler_cancellation: a handler ends when its client hangs up."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=handler_cancellation)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(
    library: str,
    controllers: Registry[Callable[[], Controller]] = CONTROLLERS,
    *,
    experiment: str = "",
    media_base: str = "",
    rate: str = "",
    port: int = 0,
) -> AsyncIterator[str]:
    """Toprung's server over a library; yields its base URL. The first of the controllers is the default."""
    settings = Settings(
        library=library,
        controller=next(iter(controllers)),
        experiment=experiment,
        media_base=media_base,
        rate=rate,
        shutdown_timeout_s=0.1,
    )
    async with listener.listening(create_app(settings, registry=controllers), "127.0.0.1", port) as port:
        yield f"http://127.0.0.1:{port}/"

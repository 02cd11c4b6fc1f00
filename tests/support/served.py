"""A real server in the running loop, on a real socket of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from server.app import create_app
from server.settings import Settings


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    """Yields the base URL of `app`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(library: str) -> AsyncIterator[str]:
    """Toprung's server over a library; yields its base URL."""
    async with listening(create_app(Settings(library=library, port=0))) as url:
        yield url

"""The server's own application, on a port: with its fast path, its limits and its headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from server.connection.accepting import Listener, accepting
from server.connection.fast_path import FastPath
from server.context import CONTEXT, SETTINGS
from server.http.middleware import fixed_headers


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, shared_port: bool = False) -> AsyncIterator[int]:
    """Serves `app`; yields the port. Raises InputError when it cannot listen there."""
    settings = app[SETTINGS]

    def make_listener(server: web.Server) -> Listener:
        context = app[CONTEXT]
        return Listener(
            context.settings,
            context.limits,
            server,
            fast_path=FastPath(context) if context.settings.fast_path else None,
            headers=fixed_headers(context.settings),
            make_room=context.title_cache.close_files,
        )

    timeout_s = settings.shutdown_timeout_s
    async with accepting(
        app, host, port, make_listener, shutdown_timeout_s=timeout_s, shared_port=shared_port
    ) as found:
        yield found

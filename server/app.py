"""Builds the app. Nothing here is global: two apps in one process share nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path

from aiohttp import web

from abr.control import Controller
from abr.controllers import CONTROLLERS
from abr.errors import InputError, UnknownNameError
from abr.registry import Registry
from server.context import CONTEXT, Context
from server.desk import Desk
from server.feed import Feed
from server.library import Library
from server.limits import Limits
from server.media import Shelf
from server.middleware import Guard, add_headers
from server.pages import page_files
from server.pulse import beating
from server.redis_store import RedisStore
from server.relay import relaying
from server.routes import ENDPOINTS, description
from server.seal import Seal
from server.settings import Settings
from server.store import Clock, MemoryStore, SessionStore
from server.telemetry import Telemetry

VERSION = version("toprung")

Controllers = Registry[Callable[[], Controller]]


def create_app(
    settings: Settings,
    *,
    store: SessionStore | None = None,
    registry: Controllers = CONTROLLERS,
    clock: Clock = time.time,
) -> web.Application:
    """The server as an aiohttp application. The store defaults to the one that the settings name, and is closed
    with the app. Raises InputError for a controller that is not there; starting the app raises it for the library.
    """
    store = make_store(settings, clock) if store is None else store
    telemetry = Telemetry(clock, VERSION)
    shelf = Shelf(
        Library(Path(settings.library)),
        clock,
        cache_bytes_max=settings.cache_bytes_max,
        cache_file_bytes_max=settings.cache_file_bytes_max,
    )
    feed = Feed(clock)
    desk = Desk(
        shelf=shelf,
        store=store,
        controllers=_controllers(settings, registry),
        default_controller=settings.controller,
        clock=clock,
        telemetry=telemetry,
        feed=feed,
    )
    endpoints = [*ENDPOINTS, description(VERSION)]
    app = web.Application(middlewares=[Guard(endpoints).middleware()], client_max_size=settings.body_bytes_max)
    app[CONTEXT] = Context(
        settings=settings,
        shelf=shelf,
        desk=desk,
        feed=feed,
        telemetry=telemetry,
        limits=Limits(settings),
        clock=clock,
        version=VERSION,
    )
    for endpoint in endpoints:
        if endpoint.method == "GET":
            app.router.add_get(endpoint.path, endpoint.handler, allow_head=True)
        else:
            app.router.add_route(endpoint.method, endpoint.path, endpoint.handler)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_hang_up)
    app.cleanup_ctx.append(lambda _app: _ready(settings, store, desk, telemetry))
    if settings.redis_url:
        app.cleanup_ctx.append(lambda _app: _related(settings, feed))
    return app


async def _hang_up(app: web.Application) -> None:
    """Watchers would stay for ever, and a server that stops waits for its requests."""
    app[CONTEXT].feed.close()


def make_store(settings: Settings, clock: Clock) -> SessionStore:
    """In Redis when a URL is set, else in this process."""
    if settings.redis_url:
        return RedisStore(
            settings.redis_url,
            clock,
            ttl_s=settings.session_ttl_s,
            log_events_max=settings.log_events_max,
            timeout_s=settings.redis_timeout_s,
        )
    return MemoryStore(
        clock,
        ttl_s=settings.session_ttl_s,
        sessions_max=settings.sessions_max,
        log_events_max=settings.log_events_max,
        log_bytes_max=settings.log_bytes_max,
        ticks=time.monotonic if clock is time.time else None,
    )


async def _ready(settings: Settings, store: SessionStore, desk: Desk, telemetry: Telemetry) -> AsyncIterator[None]:
    """Fails at start, rather than at the first viewer, when library or store are not there."""
    if not settings.library or not await asyncio.to_thread(Path(settings.library).is_dir):
        raise InputError(f"There is no library folder at {settings.library!r}; `toprung prepare` makes one.")
    try:
        await asyncio.to_thread(page_files)  # else the first visitor would wait, and all with them
        await store.ping()
        desk.seal = Seal(settings.secret or await store.shared_secret(secrets.token_urlsafe(32)))
        async with beating(telemetry):
            yield
    finally:
        await store.close()


async def _related(settings: Settings, feed: Feed) -> AsyncIterator[None]:
    async with relaying(settings.redis_url, feed, timeout_s=settings.redis_timeout_s):
        yield


def _controllers(settings: Settings, registry: Controllers) -> dict[str, Controller]:
    """One of each: controllers are pure, so all sessions may share them."""
    made = {name: registry.get(name)() for name in registry}
    for reference in settings.controllers:
        if ".py:" not in reference:
            raise InputError(f"Setting controllers names {reference!r}; it takes path/to/file.py:Class.")
        name = reference.rpartition(":")[2]
        if name in made:
            raise InputError(f"Two controllers would be named {name!r}; rename the class in {reference}.")
        made[name] = registry.get(reference)()
    if settings.controller not in made:
        raise UnknownNameError("controller", settings.controller, made)
    return made

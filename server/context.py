"""What every request handler may use. Built once for each app, never global."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from server.desk import Desk
from server.feed import Feed
from server.limits import Limits
from server.media import Shelf
from server.settings import Settings
from server.store import Clock
from server.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    settings: Settings
    shelf: Shelf
    desk: Desk
    feed: Feed
    telemetry: Telemetry
    limits: Limits
    clock: Clock
    version: str


CONTEXT = web.AppKey("context", Context)


def context(request: web.Request) -> Context:
    return request.app[CONTEXT]

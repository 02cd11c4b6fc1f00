"""What every request handler may use. Built once for each app, never global."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from server.clock import Clock
from server.contributions import Contributions
from server.live_edge.parts import LiveParts
from server.live_edge.watch import EdgeWatch
from server.live_titles.cache import LiveTitles
from server.media.title_cache import TitleCache
from server.monitoring.event_feed import EventFeed
from server.monitoring.metrics import Metrics
from server.rate_limits import RateLimits
from server.session_service import SessionService
from server.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What handlers share: one of each for an app."""

    settings: Settings
    title_cache: TitleCache
    live_titles: LiveTitles
    edge_watch: EdgeWatch
    live_parts: LiveParts
    sessions: SessionService
    feed: EventFeed
    metrics: Metrics
    limits: RateLimits
    contributions: Contributions
    clock: Clock
    version: str


CONTEXT = web.AppKey("context", Context)
"""There once the app has started."""
SETTINGS = web.AppKey("settings", Settings)


def get_context(request: web.Request) -> Context:
    """The context of the app that serves this request."""
    return request.app[CONTEXT]

"""What the titles of one node share: the line to the origin, the cache, the site, the lifters, and who decides."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from abr.core.control import DOWNLOADS_MAX, Controller, Download
from abr.virtual_time import SessionClock
from client_player.edge.accounting.ledger import Ledger
from client_player.edge.cache.disk_cache import DiskCache
from client_player.edge.lifts.lift_process import Lifting
from client_player.edge.lifts.lift_queue import LiftQueue
from client_player.edge.metrics import EdgeMetrics
from client_player.edge.origin.mirror import Mirror
from client_player.edge.pricing import EdgePricing
from client_player.edge.site.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """One of each for a node. downloads: the last segments that came over the backhaul, of whatever title."""

    mirror: Mirror
    site: Site
    cache: DiskCache
    clock: SessionClock
    controller: Controller
    pricing: EdgePricing
    lifters: Lifting
    queue: LiftQueue
    metrics: EdgeMetrics
    ledger: Ledger
    downloads: deque[Download] = field(default_factory=lambda: deque(maxlen=DOWNLOADS_MAX))

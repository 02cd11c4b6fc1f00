"""Puts together what a node works with: its cache, its line, its site, and who decides and lifts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from abr.controllers import make_controller
from abr.core.device import DeviceProfile
from abr.core.enhancement import Currency, Family
from abr.simulation.traces import Trace
from abr.virtual_time import SessionClock
from client_player.edge.accounting.balance import Balance
from client_player.edge.accounting.ledger import Ledger
from client_player.edge.accounting.lift_energy import LiftEnergy, model_meter
from client_player.edge.cache.disk_cache import open_cache
from client_player.edge.lifts.lift_process import Lifting
from client_player.edge.lifts.lift_queue import LiftQueue
from client_player.edge.metrics import EdgeMetrics
from client_player.edge.origin.backhaul import Backhaul
from client_player.edge.origin.mirror import Mirror
from client_player.edge.pricing import EdgePricing
from client_player.edge.site.peer_files import PeerFiles
from client_player.edge.site.redis_site import RedisSite
from client_player.edge.site.site import Alone, Site
from client_player.edge.workshop import Workshop
from client_player.transport.http import HttpTransport, Transport, http_pool
from client_player.transport.trace_shaper import ShapedTransport
from enhancers.profiling.energy import WatchedMeter

KWH_PER_GB_MAX = 1.0
"""A gigabyte by satellite costs some dollars, a kilowatt-hour a fraction of one."""
_PEER_SILENT_S = 2.0
"""Another node of the site is near: one that says nothing for so long is not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRequest:
    """What node to run. backhaul: shapes the line to the origin; None takes it as it is.

    profile: of this machine; None for a node that lifts nothing. lifters: segments that are lifted at once. redis_url:
    where the nodes of one site meet; empty for a node alone. peer_url: where the others reach this one; empty: where
    it listens. kwh_per_gb_max: energy that a gigabyte saved on the line may take. meter: reads this machine's energy;
    None: it is reckoned.
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
    redis_url: str = ""
    peer_url: str = ""
    kwh_per_gb_max: float = KWH_PER_GB_MAX
    meter: WatchedMeter | None = None


@asynccontextmanager
async def assembled(request: EdgeRequest, lifters: Lifting) -> AsyncIterator[Workshop]:
    """What a node works with, while the block runs. Raises InputError, StorageError."""
    async with AsyncExitStack() as stack:
        cache = await asyncio.to_thread(open_cache, request.cache, request.cache_bytes_max)
        stack.callback(cache.close)
        clock, metrics = SessionClock(), EdgeMetrics()
        site: Site = Alone()
        if request.redis_url:
            near = HttpTransport(await stack.enter_async_context(http_pool(idle_s=_PEER_SILENT_S)), clock)
            site = RedisSite(request.redis_url, PeerFiles(near, metrics.peer_bytes.inc))
        far = HttpTransport(await stack.enter_async_context(http_pool()), clock)
        ledger = _ledger(request, metrics, clock)
        yield Workshop(
            mirror=Mirror(_backhaul(request, far, clock, metrics), cache, clock, site),
            cache=cache,
            site=site,
            clock=clock,
            controller=make_controller(request.controller),
            pricing=EdgePricing(request.profile, request.families, lifters.at_once, clock),
            lifters=lifters,
            queue=LiftQueue(lifters.at_once, clock, ledger.closed),
            metrics=metrics,
            ledger=ledger,
        )


def _backhaul(request: EdgeRequest, transport: Transport, clock: SessionClock, metrics: EdgeMetrics) -> Backhaul:
    if request.backhaul is not None:
        transport = ShapedTransport(transport, request.backhaul, clock)

    def count(kind: str, size_bytes: int) -> None:
        metrics.backhaul_bytes.labels(kind).inc(size_bytes)

    return Backhaul(transport, request.origin, clock, count)


def _ledger(request: EdgeRequest, metrics: EdgeMetrics, clock: SessionClock) -> Ledger:
    power = request.profile.power if request.profile else None
    energy = LiftEnergy(request.meter or model_meter(power), clock)
    return Ledger(energy, Balance(request.kwh_per_gb_max), metrics, clock)

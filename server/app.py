"""Builds the app. Nothing here is global: two apps in one process share nothing."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from abr.controllers import CONTROLLERS
from abr.controllers.toprung.plan_library import PlanLibrary, PlanMaker
from abr.core.control import Controller
from abr.core.enhancement import Currency
from abr.errors import InputError, UnknownNameError
from abr.opinions.fitted import load_qoe
from abr.opinions.scales import CountedQuality, Rung, scale_of
from abr.registry import Registry
from server.clock import Clock
from server.concurrency.background import in_background
from server.context import CONTEXT, SETTINGS, Context
from server.contributions import Contributions, SecureRounds, start_contributions
from server.experiments.experiment import Experiment, read_experiment
from server.experiments.memory_tallies import MemoryTallies
from server.experiments.redis_tallies import RedisTallies
from server.experiments.service import RunningExperiment
from server.experiments.tally import TallyStore
from server.federation.plan import FederationPlan
from server.fleet.memory_days import MemoryDays
from server.fleet.redis_days import RedisDays
from server.fleet.service import Fleet
from server.fleet.tally import DayStore
from server.http.middleware import RequestGuard, add_headers
from server.http.pages import page_files
from server.http.routes import ENDPOINTS, description
from server.live_edge.parts import LiveParts
from server.live_edge.watch import EdgeWatch
from server.live_titles.cache import LiveTitles
from server.media.kept_versions import dropping_outlived
from server.media.library import Library
from server.media.library_check import check_library
from server.media.title_cache import TitleCache
from server.monitoring.event_feed import EventFeed
from server.monitoring.feed_relay import relaying
from server.monitoring.loop_lag import measuring_lag
from server.monitoring.metrics import Metrics
from server.open_files import budget, limit
from server.private.rounds import Channel
from server.rate_limits import RateLimits
from server.session_service import (
    ControllerRunner,
    GroupNames,
    PricingCache,
    SessionOpener,
    SessionRepository,
    SessionService,
    Watchers,
)
from server.sessions.memory_store import MemoryStore
from server.sessions.redis_store import RedisStore
from server.sessions.session_ids import SessionIds
from server.sessions.store import SessionStore
from server.settings import Settings

VERSION = version("toprung")

log = logging.getLogger("toprung.media")

Controllers = Registry[Callable[[], Controller]]


class Deciders(NamedTuple):
    """Who may decide, the experiment that compares some of them, and what makes their plans, if not the server."""

    controllers: dict[str, Controller]
    experiment: Experiment | None
    make_plan: PlanMaker | None


class Service(NamedTuple):
    """What sessions are made of, each started before the context that requests use."""

    repository: SessionRepository
    controllers: ControllerRunner
    groups: GroupNames
    watchers: Watchers
    contributions: Contributions


def create_app(
    settings: Settings,
    *,
    store: SessionStore | None = None,
    registry: Controllers = CONTROLLERS,
    clock: Clock = time.time,
    make_plan: PlanMaker | None = None,
    channel: Channel | None = None,
    federation: FederationPlan | None = None,
) -> web.Application:
    """The server as an aiohttp application.

    The store defaults to the one that the settings name, and is closed with the app. make_plan: called in a thread; by
    default plans are computed there. channel: what private rounds sum, by default telemetry. federation: a network that
    players tune together. Raises InputError for a controller that is not there; starting the app raises it for the
    library.
    """
    controllers = _controllers(settings, registry)
    experiment = read_experiment(settings.experiment, controllers) if settings.experiment else None
    store = make_store(settings, clock) if store is None else store
    endpoints = [*ENDPOINTS, description(VERSION)]
    app = web.Application(middlewares=[RequestGuard(endpoints).middleware()], client_max_size=settings.body_bytes_max)
    app[SETTINGS] = settings
    for endpoint in endpoints:
        if endpoint.method == "GET":
            app.router.add_get(endpoint.path, endpoint.handler, allow_head=True)
        else:
            app.router.add_route(endpoint.method, endpoint.path, endpoint.handler)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_let_go)
    deciders = Deciders(controllers, experiment, make_plan)
    app.cleanup_ctx.append(lambda app: _run(app, settings, store, deciders, clock, SecureRounds(channel, federation)))
    return app


async def _run(
    app: web.Application,
    settings: Settings,
    store: SessionStore,
    deciders: Deciders,
    clock: Clock,
    rounds: SecureRounds,
) -> AsyncIterator[None]:
    """Makes the context that requests use.

    Fails at start, rather than at the first viewer, when library or store are not there.
    """
    if emptiness := await asyncio.to_thread(check_library, settings.library):
        log.warning("%s", emptiness)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        await asyncio.to_thread(page_files)  # else the first visitor would wait, and all with them
        await store.ping()
        counted = await asyncio.to_thread(counted_quality, settings)
        secret = settings.secret or await store.shared_secret(secrets.token_urlsafe(32))
        ids, metrics = SessionIds(secret), Metrics(clock, VERSION)
        running = _start_experiment(deciders.experiment, settings, counted, ids, metrics, clock)
        if running:
            stack.push_async_callback(running.close)
        repository = SessionRepository(store, ids, clock, metrics)
        plans = PlanLibrary(make=deciders.make_plan)
        runner = ControllerRunner(deciders.controllers, settings.controller, metrics, plans)
        stack.callback(runner.close)
        groups = GroupNames(ids, settings.group_by, settings.trusted_peers)
        fleet = Fleet(_fleet_days(settings), clock, metrics.fleet, repository.load_profile)
        stack.push_async_callback(fleet.close)
        await stack.enter_async_context(in_background(fleet.keep_flushing()))
        watchers = Watchers(fleet=fleet, experiment=running)
        contributions = await start_contributions(settings, rounds, metrics, clock, stack)
        service = Service(repository, runner, groups, watchers, contributions)
        context = app[CONTEXT] = _make_context(settings, counted, service, metrics, clock)
        await stack.enter_async_context(measuring_lag(context.metrics))
        await stack.enter_async_context(dropping_outlived(Path(settings.library)))
        if settings.redis_url:
            relay = relaying(settings.redis_url, context.feed, timeout_s=settings.redis_timeout_s)
            await stack.enter_async_context(relay)
        yield


def _fleet_days(settings: Settings) -> DayStore:
    """Kept where sessions are."""
    if settings.redis_url:
        return RedisDays(settings.redis_url, timeout_s=settings.redis_timeout_s)
    return MemoryDays()


def _start_experiment(
    experiment: Experiment | None,
    settings: Settings,
    counted: CountedQuality,
    ids: SessionIds,
    metrics: Metrics,
    clock: Clock,
) -> RunningExperiment | None:
    """Its tallies are kept where sessions are."""
    if experiment is None:
        return None
    arms, key, ttl_s = len(experiment.arms), experiment.key(counted.name), settings.session_ttl_s
    tallies: TallyStore
    if settings.redis_url:
        tallies = RedisTallies(settings.redis_url, key, arms, ttl_s=ttl_s, timeout_s=settings.redis_timeout_s)
    else:
        tallies = MemoryTallies(arms, clock, ttl_s=ttl_s, visits_max=settings.sessions_max)
    return RunningExperiment(experiment, key, tallies, ids, metrics)


def _make_context(
    settings: Settings,
    counted: CountedQuality,
    parts: Service,
    metrics: Metrics,
    clock: Clock,
) -> Context:
    repository, controllers, groups, watchers, contributions = parts
    feed = EventFeed(clock, is_shared=bool(settings.redis_url))
    descriptors = budget(limit())
    library = Library(Path(settings.library))
    title_cache = TitleCache(
        library,
        clock,
        cache_bytes_max=settings.cache_bytes_max,
        cache_file_bytes_max=settings.cache_file_bytes_max,
        open_files_max=descriptors.cached_files,
        media_base=settings.media_base,
    )
    live_titles = LiveTitles(library, clock)
    pricing = PricingCache(title_cache, live_titles, repository, controllers.plans, counted)
    sessions = SessionService(
        repository=repository,
        pricing=pricing,
        controllers=controllers,
        opener=SessionOpener(title_cache, repository, pricing, controllers, clock, groups, watchers.experiment),
        clock=clock,
        metrics=metrics,
        feed=feed,
        watchers=watchers,
    )
    return Context(
        settings=settings,
        title_cache=title_cache,
        live_titles=live_titles,
        edge_watch=EdgeWatch(library, clock),
        live_parts=LiveParts(library),
        sessions=sessions,
        feed=feed,
        metrics=metrics,
        limits=RateLimits(settings, connections_max=descriptors.connections),
        contributions=contributions,
        clock=clock,
        version=VERSION,
    )


def counted_quality(settings: Settings) -> CountedQuality:
    """What decisions and QoE count. Raises FormatError, InputError or StorageError for a QoE that cannot be used."""
    qoe = load_qoe(Path(settings.qoe)) if settings.qoe else None
    if qoe is not None:
        scale_of(qoe, [Rung(vmaf=50.0, rate_kbps=1000.0, height_px=360.0)])  # else the first viewer would find out
    return CountedQuality(Currency(settings.quality), qoe)


async def _let_go(app: web.Application) -> None:
    """Watchers would stay for ever, viewers of live streams for seconds; a server that stops waits for its requests."""
    app[CONTEXT].feed.close()
    app[CONTEXT].edge_watch.close()
    await app[CONTEXT].contributions.close()


def make_store(settings: Settings, clock: Clock) -> SessionStore:
    """In Redis when a URL is set, else in this process."""
    if settings.redis_url:
        return RedisStore(
            settings.redis_url,
            clock,
            ttl_s=settings.session_ttl_s,
            log_events_max=settings.log_events_max,
            log_session_bytes_max=settings.log_session_bytes_max,
            timeout_s=settings.redis_timeout_s,
        )
    return MemoryStore(
        clock,
        ttl_s=settings.session_ttl_s,
        sessions_max=settings.sessions_max,
        log_events_max=settings.log_events_max,
        log_session_bytes_max=settings.log_session_bytes_max,
        log_bytes_max=settings.log_bytes_max,
        profile_bytes_max=settings.profile_bytes_max,
        ticks=time.monotonic if clock is time.time else None,
    )


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

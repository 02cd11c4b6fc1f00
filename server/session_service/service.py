"""The service that HTTP handlers and the fast path ask: open a session, decide a segment, take in events, end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import msgspec

from abr.controllers import HORIZON
from abr.core.control import Download
from abr.core.events import AnyEvent, Decided, Ended, Shown, Started, dumps_line
from abr.core.options import PriceList
from server.clock import Clock
from server.concurrency.keyed_lock import KeyedLock
from server.errors import RequestError
from server.experiments.report import ExperimentView
from server.experiments.watched import LoggedSession, WatchedFilm, watched_film
from server.fleet.report import DevicesView
from server.monitoring.event_feed import EventFeed
from server.monitoring.metrics import Metrics
from server.monitoring.shown_quality import ShownQuality, quality_shown
from server.session_service.controller_runner import ControllerRunner
from server.session_service.live import LiveView
from server.session_service.opening import SessionOpener, SessionRequest
from server.session_service.pricing import PricingCache
from server.session_service.repository import ATTEMPTS, SessionRepository, contended_session, unknown_session
from server.session_service.watchers import Watchers
from server.sessions.cmcd_reports import DeliveryReport, note_reports
from server.sessions.decisions import PricedTitle, SegmentDecision, fingerprint, record_decision, repeat_decision
from server.sessions.observation import ClientHints, observe
from server.sessions.session_ids import public_part, store_key
from server.sessions.state import SessionState
from server.sessions.store import StoreError, VersionedState
from server.sessions.tcp_info import MeasuredDelivery


class SegmentQuery(NamedTuple):
    """What a request for a segment (0-based) tells."""

    segment: int
    hints: ClientHints
    delivery: MeasuredDelivery | None = None
    """How the segment before went out on this connection, for viewers who do not tell."""
    rendition: str = ""
    """The one asked for by a viewer who chooses for itself; empty when the server chooses."""
    begun_s: float | None = None
    """When the segment of a live title was seen to be there or under way; whoever asks takes chunks as they come."""


class SessionService:
    """All that can be done with sessions. Raises RequestError for what the viewer got wrong, StoreError otherwise."""

    def __init__(
        self,
        *,
        repository: SessionRepository,
        pricing: PricingCache,
        controllers: ControllerRunner,
        opener: SessionOpener,
        clock: Clock,
        metrics: Metrics,
        feed: EventFeed,
        watchers: Watchers,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._feed = feed
        self._watchers = watchers
        self._locks = KeyedLock()
        self._controllers = controllers
        self._repository = repository
        self._pricing = pricing
        self._live = pricing.live
        self._opener = opener

    async def all_planned(self) -> None:
        """Returns when all plans that viewers need are there; decisions do without them meanwhile."""
        await self._controllers.all_planned()

    async def open(self, request: SessionRequest, address: str = "", wait_s: float = 0.0) -> tuple[str, SessionState]:
        """Open a session; returns its id. The title and the controller must exist.

        address: who asks. wait_s: for how long it would rather wait for plans than be decided for without.
        """
        session_id, state = await self._opener.open(request, address, wait_s)
        self._metrics.count_opening(state.controller, store_key(session_id))
        started = Started(
            t_s=0.0,
            session=public_part(session_id),
            title=state.title,
            controller=state.controller,
            device=request.profile.device.name[:128] if request.profile else "",
            arm=state.arm,
        )
        self._feed.publish(session_id, state.title, [started])
        await self._watchers.count_session(state, request.profile, await self.prices(state))
        return session_id, state

    async def state(self, session_id: str) -> SessionState:
        """The session's state; 404 when it is unknown or expired."""
        return (await self._repository.load(session_id)).state

    async def prices(self, state: SessionState) -> PriceList:
        """What the session's title offers its device."""
        if state.live:
            return await self._live.prices(state)
        return (await self._pricing.priced_title(state)).prices

    async def decide(self, session_id: str, query: SegmentQuery) -> SegmentDecision:
        """Decide a segment, once: asked again, the same answer. Requests of one session wait for each other."""
        key = store_key(session_id)
        await self._locks.acquire(session_id)
        try:
            for attempt in range(ATTEMPTS):
                session = await self._repository.latest(session_id, key, reload=attempt > 1)
                decided = await self._decide(session_id, session.state, query)
                if await self._record(session_id, key, session.version, decided):
                    self._metrics.active.touch(key)
                    return decided
                self._metrics.conflicts.inc()
        finally:
            self._locks.release(session_id)
        raise contended_session()

    async def _decide(self, session_id: str, state: SessionState, query: SegmentQuery) -> SegmentDecision:
        """Observe → decide → record; or what was decided before."""
        if state.live:
            view = await self._live.view(state, query.segment, query.begun_s)
            query = query._replace(segment=query.segment - view.offset)
            learning = view.learning
            trainer, published_s = (learning.state, learning.published_s) if learning else ("none", 0.0)
            self._metrics.count_live_decision(trainer, published_s, view.ladder, self._clock())
            return view.leave(await self._decide_by(session_id, view.enter(state), query, view.offer, view))
        offer = await self._pricing.priced_title(state)
        segments = len(offer.prices.duration_s)
        if not 0 <= query.segment < segments:
            raise RequestError(404, f"Segment {query.segment + 1} is not among 1 to {segments}.")
        if query.rendition and query.rendition not in offer.prices.rendition_ids:
            raise RequestError(404, f"This session is in {state.codec}, and {query.rendition[:64]} is not.")
        return await self._decide_by(session_id, state, query, offer)

    async def _decide_by(
        self,
        session_id: str,
        state: SessionState,
        query: SegmentQuery,
        offer: PricedTitle,
        live: LiveView | None = None,
    ) -> SegmentDecision:
        """live: of who watches live; it bounds the buffer. In a group the observation expects a share."""
        segment, prices = query.segment, offer.prices
        if query.delivery is not None and not state.reports:
            state = state.with_download(self._download(state, query.delivery))
        state = state.with_menu(fingerprint(prices))
        repeated = repeat_decision(state, offer, segment, query.rendition)
        if repeated is not None:
            return repeated
        now_s = self._clock()
        is_paced = live is not None and live.is_growing
        observed = observe(state, query.hints, prices, segment, now_s=now_s, horizon=HORIZON, is_paced=is_paced)
        if live is not None:
            observed = live.bounded(observed)
        asked = observed.observation
        turn = self._controllers.take_turn(state, store_key(session_id), asked, now_s) if state.group else None
        if turn is not None:
            observed = observed._replace(observation=turn.observation)
        requester = self._pricing.requester(state)
        decision = await self._controllers.decide(state.controller, observed.observation, session_id, requester)
        if turn is not None:
            decision = turn.conclude(decision)
        return record_decision(observed, decision, offer, segment, query.rendition)

    async def _record(self, session_id: str, key: str, version: int, decided: SegmentDecision) -> bool:
        """State and log line saved, feed and metrics told. False when the session was saved elsewhere in between."""
        event, state = decided.event, decided.state
        if event is None:
            await self._repository.touch(key)
        elif await self._repository.save_decision(key, state, version, dumps_line(event)):
            self._feed.publish(session_id, state.title, [event])
        else:
            return False
        self._metrics.count_decision(state.controller, decided, session_id)
        return True

    async def note_delivery(self, session_id: str, delivery: MeasuredDelivery) -> None:
        """Remember how a segment went out, for viewers who tell nothing of their throughput.

        It is passed over when the session has ended or the store is away: the answer is sent, so there is nobody to
        tell.
        """

        async def change(session: VersionedState) -> tuple[SessionState, list[bytes]] | None:
            state = session.state
            return None if state.reports else (state.with_download(self._download(state, delivery)), [])

        with suppress(RequestError, StoreError):
            await self._repository.change(session_id, change)

    def _download(self, state: SessionState, delivery: MeasuredDelivery) -> Download:
        now_s = max(0.0, self._clock() - state.created_s)
        return Download(
            started_s=max(0.0, now_s - delivery.took_s),
            duration_s=delivery.took_s,
            latency_s=delivery.latency_s,
            size_bytes=delivery.size_bytes,
        )

    async def add_reports(self, session_id: str, reports: Sequence[DeliveryReport]) -> None:
        """Remember and log what the viewer reports of segments that it was sent; others are passed over."""

        async def change(session: VersionedState) -> tuple[SessionState, list[bytes]] | None:
            self._metrics.active.touch(store_key(session_id))
            events: Sequence[AnyEvent]
            if session.state.live:
                state, events = await self._live.note_reports(session.state, reports, self._clock())
            else:
                title, prices = await self._pricing.priced_title(session.state)
                state, events = note_reports(session.state, reports, title, prices, self._clock())
            return (state, [dumps_line(event) for event in events]) if events else None

        await self._repository.change(session_id, change)

    async def add_events(self, session_id: str, events: Sequence[AnyEvent]) -> None:
        """Add a player's events to the session's log. Its own word on decisions is left out: the server wrote them."""
        arm = self._repository.arm(session_id)
        kept = [_with_arm(event, arm) for event in events if not isinstance(event, Decided)]
        state = await self._repository.append(session_id, list(map(dumps_line, kept)))
        self._feed.publish(session_id, state.title, kept)
        quality_of = await self._quality_of(state)
        self._metrics.viewers.observe(kept, session_id, quality_of)
        await self._watchers.note(state, kept, quality_of)
        if any(isinstance(event, Ended) for event in kept):
            self._metrics.count_end(store_key(session_id))
            self._controllers.leave(state, store_key(session_id))
        else:
            self._metrics.active.touch(store_key(session_id))

    async def _quality_of(self, state: SessionState) -> Callable[[Shown], ShownQuality | None]:
        if state.live:
            return await self._live.quality_of(state)
        return partial(quality_shown, prices=(await self._pricing.priced_title(state)).prices)

    async def experiment(self) -> ExperimentView | None:
        """What the running experiment has come to, over all workers; None where there is none."""
        running = self._watchers.experiment
        return await running.report() if running else None

    async def devices(self) -> DevicesView:
        """Which devices there were lately, and which tiers pay on them, over all workers. Raises StoreError."""
        return await self._watchers.fleet.report()

    async def watched(self, session_ids: Sequence[str]) -> WatchedFilm:
        """What a viewer has seen so far, in features, in the sessions of one viewing; at least one.

        Raises RequestError: 409 before a segment was shown, 422 for sessions of several titles.
        """
        titles, sessions = set(), []
        for session_id in session_ids:
            state = await self.state(session_id)
            titles.add(state.title)
            quality_of = self._pricing.in_vmaf(await self._quality_of(state))
            sessions.append(LoggedSession(await self._repository.log(store_key(session_id)), quality_of))
        if len(titles) > 1:
            raise RequestError(422, "An opinion is of one film; these sessions are of several.")
        return await asyncio.to_thread(watched_film, titles.pop(), sessions)

    async def log(self, session_id: str) -> bytes:
        """The session log, one JSON object a line."""
        await self.state(session_id)
        return await self._repository.log(store_key(session_id))

    async def public_log(self, public_id: str) -> bytes:
        """The log of a session by the public part of its id, which names it in the store; 404 when there is none."""
        body = await self._repository.log(public_id)
        if not body:
            raise unknown_session()
        return body

    async def close(self, session_id: str) -> None:
        """End a session and forget it."""
        key = store_key(session_id)
        state = (await self._repository.latest(session_id, key)).state
        await self._repository.delete(session_id)
        self._metrics.count_end(key)
        self._controllers.leave(state, key)


def _with_arm(event: AnyEvent, arm: str) -> AnyEvent:
    """The server knows the arm that a viewer was drawn into; its player does not."""
    return msgspec.structs.replace(event, arm=arm) if isinstance(event, Started) else event

"""The desk where sessions are opened, segments decided and events handed in. Knows stores and titles, not HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from msgspec import Meta

from abr.control import Controller, Decision, Download, Observation
from abr.controllers import HORIZON
from abr.controllers.guard import decide_group
from abr.device import DeviceProfile
from abr.enhancement import Family
from abr.events import AnyEvent, Decided, Ended, Started, dumps_line
from abr.formats import Record, dumps, loads
from abr.media import Identifier, Title
from abr.options import PriceList, price
from server.cache import Cache
from server.decisions import Taken, take, usable
from server.delivery import Delivery
from server.exposition import session_shown
from server.feed import Feed
from server.foresight import Foresight
from server.media import LoadedTitle, Shelf
from server.problems import RequestError
from server.reports import Report, note_reports
from server.seal import Seal, store_key
from server.seen import sight
from server.sessions import SessionState, profile_key
from server.store import Clock, SessionStore, StoreError, Versioned
from server.telemetry import Telemetry
from server.together import Together
from server.turns import Turns
from server.viewers import Heard

PRICES_BYTES_MAX = 128 << 20
ATTEMPTS = 32
"""Saves that may fail since another process saved the same session in between."""

WARN_EVERY_S = 10.0
AGE_MAX_S = 86_400.0
"""A session that the store has lost is taken up again until this long after it was opened."""

log = logging.getLogger("toprung.desk")


class SessionRequest(Record, frozen=True):
    """Body of POST /sessions. Without a profile only plain playback is offered."""

    title: Identifier
    profile: DeviceProfile | None = None
    controller: Annotated[str, Meta(max_length=64)] = ""
    """Empty: the server's own choice."""
    families: Annotated[tuple[Family, ...], Meta(max_length=8)] = tuple(Family)
    buffer_max_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0


class Desk:
    """All that can be done with sessions. Raises RequestError for what the viewer got wrong, StoreError otherwise."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        store: SessionStore,
        controllers: dict[str, Controller],
        default_controller: str,
        clock: Clock,
        telemetry: Telemetry,
        feed: Feed,
    ) -> None:
        self._shelf = shelf
        self._store = store
        self._controllers = controllers
        self._default_controller = default_controller
        self._clock = clock
        self._telemetry = telemetry
        self._feed = feed
        self._prices: Cache[tuple[str, str, bytes, tuple[Family, ...]], PriceList] = Cache(PRICES_BYTES_MAX)
        self._foresight = Foresight()
        self._turns = Turns()
        self._deciding = Together(self._decide)
        self._warned_s = 0.0
        self.seal = Seal()
        """Replaced at the start by the one that all who share the store have."""

    async def open(self, asked: SessionRequest) -> tuple[str, SessionState]:
        """Open a session; returns its id. The title and the controller must exist."""
        await self._shelf.title(asked.title)
        controller = asked.controller or self._default_controller
        if controller not in self._controllers:  # never a path: viewers do not load code here
            known = ", ".join(self._controllers)
            raise RequestError(422, f"There is no controller named {controller!r}. Known: {known}.")
        state = SessionState(
            title=asked.title,
            controller=controller,
            families=tuple(dict.fromkeys(asked.families)),
            profile=await self._keep(asked.profile),
            buffer_max_s=asked.buffer_max_s,
            created_s=self._clock(),
        )
        prices = await self.prices(state)
        if not usable(prices):
            raise RequestError(422, f"Title {asked.title!r} has more options than a session can hold.")
        await self._foresight.wait(self._controllers[controller], prices.menu(0, 1), state.buffer_max_s)
        session_id = self.seal.issue(state)
        try:
            await self._store.save(store_key(session_id), state, version=0)
        except StoreError as error:
            self._failed(error)
            self._store.keep(store_key(session_id), state, version=0)
        self._telemetry.started.labels(controller).inc()
        self._telemetry.active.hear(store_key(session_id))
        device = asked.profile.device.name[:128] if asked.profile else ""
        started = Started(
            t_s=0.0, session=session_shown(session_id), title=state.title, controller=controller, device=device
        )
        self._feed.tell(session_id, state.title, [started])
        return session_id, state

    async def state(self, session_id: str) -> SessionState:
        """The session's state; 404 when it is unknown or expired."""
        return (await self._find(session_id)).state

    async def _find(self, session_id: str) -> Versioned:
        """What the store has; the session as it began, when the store may have lost it or does not answer."""
        begun = self.seal.read(session_id)
        if begun is None:
            raise _unknown()
        try:
            found = await self._store.load(store_key(session_id))
            if found is not None:
                return found
            if begun.created_s >= await self._store.since() or self._clock() - begun.created_s > AGE_MAX_S:
                raise _unknown()
        except StoreError as error:
            self._failed(error)
            found = self._store.cached(store_key(session_id))
        return found or Versioned(0, begun.state())

    def _failed(self, error: StoreError) -> None:
        """The store is away: the show goes on without it."""
        self._telemetry.store_failures.inc()
        if abs(self._clock() - self._warned_s) >= WARN_EVERY_S:
            self._warned_s = self._clock()
            log.warning("%s; going on without it", error)

    async def prices(self, state: SessionState) -> PriceList:
        """What the session's title offers its device."""
        _, prices = await self._priced(state)
        return prices

    async def choose(
        self,
        session_id: str,
        segment: int,
        heard: Heard,
        before: tuple[Delivery, int] | None = None,
        *,
        asked: str = "",
    ) -> Taken:
        """Decide a segment, once: asked again, the same answer. Requests of one session take turns.

        before: how the last segment went out, and its bytes, for viewers who do not tell. asked: the rendition that a
        viewer who chooses for itself asks for (see server.decisions).
        """
        self._telemetry.active.hear(store_key(session_id))
        await self._turns.begin(session_id)
        try:
            for attempt in range(ATTEMPTS):
                taken = await self._try(session_id, segment, heard, before, asked, afresh=attempt > 1)
                if taken is not None:
                    return taken
                self._telemetry.conflicts.inc()
        finally:
            self._turns.end(session_id)
        raise RequestError(503, "Too many requests of this session at once; try again.", {"Retry-After": "1"})

    async def _try(
        self,
        session_id: str,
        segment: int,
        heard: Heard,
        before: tuple[Delivery, int] | None,
        asked: str,
        afresh: bool,
    ) -> Taken | None:
        """One attempt; None when the session was saved by somebody else in between."""
        if self.seal.read(session_id) is None:
            raise _unknown()
        key = store_key(session_id)
        version, state = (None if afresh else self._store.cached(key)) or await self._find(session_id)
        title, prices = await self._priced(state)
        if not 0 <= segment < len(prices.duration_s):
            raise RequestError(404, f"Segment {segment + 1} is not among 1 to {len(prices.duration_s)}.")
        controller = self._controllers.get(state.controller, self._controllers[self._default_controller])
        if before is not None and not state.reports:
            state = state.with_download(self._download(state, *before))
        decide = partial(self._decided, controller, session_id)
        now_s = self._clock()
        taken = await take(state, heard, title, prices, decide, segment, now_s=now_s, horizon=HORIZON, asked=asked)
        if not await self._keep_taken(key, taken, version):
            return None
        if taken.event is not None:
            self._feed.tell(session_id, state.title, [taken.event])
        self._telemetry.decided(state.controller, taken, session_id)
        return taken

    async def _decided(self, controller: Controller, session_id: str, seen: Observation) -> Decision:
        await self._foresight.wait(controller, seen.menu, seen.buffer_max_s)
        decision, took_s = await self._deciding.ask((controller, seen))
        self._telemetry.decision_s.observe(took_s, session_id)
        return decision

    def _decide(self, asked: Sequence[tuple[Controller, Observation]]) -> list[tuple[Decision, float]]:
        """What was asked for in one turn of the loop, each with its share of the time that all took."""
        self._telemetry.decision_rounds.inc()
        started = time.perf_counter()
        decisions = decide_group(asked)
        share_s = (time.perf_counter() - started) / len(asked)
        return [(decision, share_s) for decision in decisions]

    async def _keep_taken(self, key: str, taken: Taken, version: int) -> bool:
        """False when the session was saved by somebody else in between. Without the store, remembered here."""
        lines = () if taken.event is None else (dumps_line(taken.event),)
        try:
            if taken.event is None:
                await self._store.touch(key)
                return True
            return await self._store.save(key, taken.state, version=version, lines=lines)
        except StoreError as error:
            self._failed(error)
            self._telemetry.degraded.inc()
            self._store.keep(key, taken.state, version=version, lines=lines)
            return True

    async def sent(self, session_id: str, delivery: Delivery, size_bytes: int) -> None:
        """Remember how a segment went out, for viewers who tell nothing of their throughput."""
        for _ in range(ATTEMPTS):
            found = await self._store.load(store_key(session_id))
            if found is None or found.state.reports:
                return
            download = self._download(found.state, delivery, size_bytes)
            told = found.state.with_download(download)
            if await self._store.save(store_key(session_id), told, version=found.version):
                return

    def _download(self, state: SessionState, delivery: Delivery, size_bytes: int) -> Download:
        now_s = max(0.0, self._clock() - state.created_s)
        return Download(
            started_s=max(0.0, now_s - delivery.took_s),
            duration_s=delivery.took_s,
            latency_s=delivery.latency_s,
            size_bytes=size_bytes,
        )

    async def delivered(self, session_id: str, reports: Sequence[Report]) -> None:
        """Remember and log what the viewer reports of segments that it was sent; others are passed over."""
        self._telemetry.active.hear(store_key(session_id))
        for _ in range(ATTEMPTS):
            found = await self._find(session_id)
            title, prices = await self._priced(found.state)
            state, events = note_reports(found.state, reports, title, prices, self._clock())
            if not events:
                return
            lines = [dumps_line(event) for event in events]
            if await self._store.save(store_key(session_id), state, version=found.version, lines=lines):
                return
        raise RequestError(503, "Too many requests of this session at once; try again.", {"Retry-After": "1"})

    async def report(self, session_id: str, events: Sequence[AnyEvent]) -> None:
        """Add a player's events to the session's log. Its own word on decisions is left out: the server wrote them."""
        kept = [event for event in events if not isinstance(event, Decided)]
        version, state = await self._find(session_id)
        key, lines = store_key(session_id), list(map(dumps_line, kept))
        added = self._store.append(key, lines) if version else self._store.save(key, state, version=0, lines=lines)
        if not await added:
            raise _unknown()
        self._feed.tell(session_id, state.title, kept)
        prices = await self.prices(state)
        self._telemetry.viewers.observe(kept, session_id, partial(sight, prices=prices))
        if any(isinstance(event, Ended) for event in kept):
            self._telemetry.end(store_key(session_id))
        else:
            self._telemetry.active.hear(store_key(session_id))

    async def log(self, session_id: str) -> bytes:
        """The session log, one JSON object a line."""
        await self.state(session_id)
        return b"".join(await self._store.log(store_key(session_id)))

    async def shown_log(self, shown: str) -> bytes:
        """The log of a session by the public part of its id, which names it in the store; 404 when there is none."""
        lines = await self._store.log(shown)
        if not lines:
            raise _unknown()
        return b"".join(lines)

    async def close(self, session_id: str) -> None:
        """End a session and forget it."""
        if self.seal.read(session_id) is None or not await self._store.delete(store_key(session_id)):
            raise _unknown()
        self._telemetry.end(store_key(session_id))

    async def _keep(self, profile: DeviceProfile | None) -> bytes:
        if profile is None:
            return b""
        key = profile_key(profile)
        try:
            await self._store.put_profile(key, dumps(profile))
        except StoreError as error:
            self._failed(error)
        return key

    async def _priced(self, state: SessionState) -> tuple[Title, PriceList]:
        loaded = await self._shelf.title(state.title)
        key = (state.title, loaded.version, state.profile, state.families)
        known = self._prices.get(key)
        if known is None:
            profile = await self._profile(state.profile)
            known = await asyncio.to_thread(_price, loaded, profile, state.families)
            if profile is not None or not state.profile:
                self._prices.put(key, known, _nbytes(known))
        return loaded.title, known

    async def _profile(self, key: bytes) -> DeviceProfile | None:
        """None also when the store has lost it, which is worth a warning: plain playback until it is there again."""
        try:
            data = await self._store.profile(key) if key else None
        except StoreError as error:
            self._failed(error)
            return None
        if key and data is None:
            log.warning("a device profile was forgotten before its session; plain playback only")
        return None if data is None else loads(data, DeviceProfile, what="stored device profile")


def _price(loaded: LoadedTitle, profile: DeviceProfile | None, families: tuple[Family, ...]) -> PriceList:
    return price(loaded.title, loaded.table, profile, families=families)


def _nbytes(prices: PriceList) -> int:
    return sum(array.nbytes for array in (prices.duration_s, prices.size_bytes, prices.compute_s, prices.vmaf))


def _unknown() -> RequestError:
    return RequestError(404, "There is no such session; it ended or was never opened. POST /sessions opens one.")

"""Sessions on live titles: the same decisions, by lists that are cut around the segment that is asked for.

A session remembers segments by their number in the stream. Decisions count rows of a list, so a session is moved into
the list's count before one, and back after it (`LiveView.enter`, `LiveView.leave`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

import msgspec

from abr.core.arrays import stored_bytes
from abr.core.enhancement import Family
from abr.core.events import AnyEvent, Shown
from abr.core.live.learning import LiveLearning
from abr.core.options import PriceList
from abr.opinions.scales import CountedQuality
from server.errors import RequestError
from server.live_titles.cache import LiveTitles, absence
from server.live_titles.outlook import ASKED, Outlook, list_around, planned_list, title_around
from server.lru_cache import LruCache
from server.monitoring.shown_quality import ShownQuality, quality_shown
from server.session_service.repository import SessionRepository
from server.sessions.cmcd_reports import DeliveryReport, note_reports
from server.sessions.decisions import PricedTitle, SegmentDecision
from server.sessions.observation import ObservedSession
from server.sessions.state import SessionState

LIST_BYTES = 12_000
"""About what one list takes, and what controllers remember of it, beside its tables."""
LISTS_BYTES_MAX = 32 << 20
"""Of each kind: lists around one segment, of usual segments, and those that plans are made of."""

_Offered: TypeAlias = tuple[str, str, bytes, bytes, tuple[Family, ...]]
"""Title, version, the quality of its segments, the device profile's id, enhancer families."""


class LiveView(NamedTuple):
    """A live title around one segment. offset: what to add to a row of its list for the segment's number.

    ahead_s: media from where the segment begins to the live edge, or to its own end when it is under way (is_growing).
    latency_s: how far behind the live edge players are told to be.
    learning: of the title's own networks, where there are any in training. ladder: whole, eased or shed.
    """

    offer: PricedTitle
    offset: int
    ahead_s: float
    latency_s: float
    learning: LiveLearning | None = None
    ladder: str = "whole"
    is_growing: bool = False

    def enter(self, state: SessionState) -> SessionState:
        """The session in the count of the list."""
        return _moved(state, -self.offset)

    def leave(self, decided: SegmentDecision) -> SegmentDecision:
        """What was decided, in the count of the stream."""
        event = decided.event
        if event is not None:
            event = msgspec.structs.replace(event, segment=event.segment + self.offset)
        return msgspec.structs.replace(decided, state=_moved(decided.state, self.offset), event=event)

    def bounded(self, observed: ObservedSession) -> ObservedSession:
        """The buffer of who watches live cannot hold more than lies between the picture and the live edge.

        For who follows the edge this is the distance that players are told to keep.
        """
        observation = observed.observation
        behind_s = max(self.latency_s, self.ahead_s + observation.buffer_s)
        limit_s = min(observation.buffer_max_s, behind_s)
        return observed._replace(observation=msgspec.structs.replace(observation, buffer_max_s=limit_s))


class LiveSessions:
    """What live titles offer the devices of sessions. Raises RequestError as `LiveTitles` does."""

    def __init__(self, titles: LiveTitles, repository: SessionRepository, counted: CountedQuality) -> None:
        self.titles = titles
        self._repository, self._counted = repository, counted
        self._typical: LruCache[_Offered, PriceList] = LruCache(LISTS_BYTES_MAX)
        self._planned: LruCache[tuple[_Offered, bytes], PriceList] = LruCache(LISTS_BYTES_MAX)
        self._lists: LruCache[tuple[_Offered, int, int, int, bytes], PricedTitle] = LruCache(LISTS_BYTES_MAX)

    async def prices(self, state: SessionState) -> PriceList:
        """What a usual segment of the session's title offers its device: one row."""
        outlook = await self.titles.outlook(state.title, state.version)
        return await self._typical_list(outlook, state)

    async def view(self, state: SessionState, segment: int, begun_s: float | None = None) -> LiveView:
        """The title around a segment. Raises RequestError for one that is not there: 410 before the window, 404 after.

        begun_s: when it was seen that it is there or under way, by the server's clock. The state of a stream that has
        ended is no other: its last rows are the last of the list.
        """
        outlook = await self.titles.outlook(state.title, state.version, segment, since_s=begun_s)
        if (problem := absence(outlook, segment, may_grow=begun_s is not None)) is not None:
            raise problem
        tables, offered = outlook.tables, self._offered(outlook, state)
        edge = tables.end if tables.state == "running" else -tables.end
        key = offered, segment, edge, tables.timeline.span_of(segment).number, outlook.planned.tobytes()
        offer = self._lists.get(key)
        if offer is None:
            typical = await self._typical_list(outlook, state)
            planned = self._planned_list(offered, outlook, typical)
            offer = PricedTitle(title_around(outlook, segment), list_around(outlook, segment, typical, planned))
            self._lists.put(key, offer, _list_bytes(offer.prices))
        return LiveView(
            offer,
            segment - ASKED,
            ahead_s=tables.begin_s(max(tables.end, segment + 1)) - tables.begin_s(segment),
            latency_s=tables.latency_s,
            learning=tables.learning,
            ladder=tables.ladder,
            is_growing=segment >= tables.end,
        )

    async def quality_of(self, state: SessionState) -> Callable[[Shown], ShownQuality | None]:
        """Of a shown segment: that of usual ones."""
        return partial(_shown_as_usual, prices=await self.prices(state))

    async def note_reports(
        self, state: SessionState, reports: Sequence[DeliveryReport], clock_s: float
    ) -> tuple[SessionState, list[AnyEvent]]:
        """As `cmcd_reports.note_reports`; those of segments that have left the window are passed over."""
        events: list[AnyEvent] = []
        for report in reports:
            try:
                view = await self.view(state, report.segment)
            except RequestError:
                continue
            noted, told = note_reports(view.enter(state), [replace(report, segment=ASKED)], *view.offer, clock_s)
            state = _moved(noted, view.offset)
            events += [msgspec.structs.replace(event, segment=report.segment) for event in told]
        return state, events

    async def _typical_list(self, outlook: Outlook, state: SessionState) -> PriceList:
        key = self._offered(outlook, state)
        prices = self._typical.get(key)
        if prices is None:
            profile = await self._repository.load_profile(state.profile)
            tables = outlook.tables
            options = self._counted.options(tables.typical, tables.enhancements)
            prices = options.price(profile, families=state.families)
            if profile is not None or not state.profile:
                self._typical.put(key, prices, _list_bytes(prices))
        return prices

    def _planned_list(self, offered: _Offered, outlook: Outlook, typical: PriceList) -> PriceList:
        key = offered, outlook.planned.tobytes()
        prices = self._planned.get(key)
        if prices is None:
            prices = planned_list(typical, outlook.planned)
            self._planned.put(key, prices, _list_bytes(prices))
        return prices

    @staticmethod
    def _offered(outlook: Outlook, state: SessionState) -> _Offered:
        return state.title, outlook.tables.typical.version, outlook.quality_key, state.profile, state.families


def _moved(state: SessionState, by: int) -> SessionState:
    segment = state.segment + by if state.last >= 0 else state.segment
    return msgspec.structs.replace(state, segment=segment, choices_from=state.choices_from + by)


def _list_bytes(prices: PriceList) -> int:
    tables = prices.size_bytes, prices.compute_s, prices.lead_s, prices.quality, prices.vmaf
    return LIST_BYTES + sum(map(stored_bytes, tables))


def _shown_as_usual(event: Shown, prices: PriceList) -> ShownQuality | None:
    return quality_shown(msgspec.structs.replace(event, segment=0), prices)

"""A session on a live title, from the player's side: it follows the live edge, and keeps its distance to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urljoin

import aiohttp
import msgspec

from abr.core.control import Download
from abr.core.events import Decided
from abr.core.live.tables import SILENT_MIN_S, SILENT_SEGMENTS, TABLES_FILE
from abr.core.title import Title
from abr.errors import FormatError, ToprungError
from abr.virtual_time import SessionClock
from client_player.source.base import (
    AbsentSegmentError,
    GrowingSegment,
    LiveMoment,
    PlayableSegment,
    PlayerView,
    ServedSegment,
    SourceListener,
)
from client_player.source.live_documents import (
    LiveAddresses,
    LiveDocuments,
    fetch_live_documents,
    presentation_of,
    read_tables,
)
from client_player.source.mpd import Span
from client_player.source.server_session import ServerSource, server_url, title_folder_url
from client_player.source.session_documents import SessionDocuments
from client_player.source.session_request import ServerSessionRequest, SessionReply
from client_player.transport.growing import GrowingReply
from client_player.transport.http import (
    DOCUMENT_MAX_BYTES,
    SEGMENT_MAX_BYTES,
    DownloadError,
    RetryPolicy,
    Transport,
    get_with_retries,
    with_retries,
)

FAR_SEGMENTS = 3
"""Who falls behind the distance to keep by more than so many segments leaves some out."""
ASK_EARLIEST_S = 0.05
"""A segment is asked after so long after its last picture, and then each quarter of its duration; where segments grow,
after its first one, and each quarter of a chunk."""
_ABSENT, _GONE = 404, 410


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedInParts:
    """A GrowingSegment."""

    decided: Decided
    init: bytes
    reply: GrowingReply

    def parts(self) -> AsyncGenerator[bytes]:
        """See GrowingSegment."""
        return self.reply.chunks()

    def timing(self) -> Download:
        """See GrowingSegment."""
        return self.reply.arrivals.timing()


class LiveSource(ServerSource):
    """A session on a live title. Make it with `open_live_source`."""

    def __init__(
        self,
        base_url: str,
        request: ServerSessionRequest,
        session: SessionReply,
        documents: LiveDocuments,
        *,
        pool: aiohttp.ClientSession,
        transport: Transport,
        listener: SourceListener,
        clock: SessionClock,
    ) -> None:
        self._at, self._tables, self._clock = documents.at, documents.tables, clock
        self._offset_s = documents.offset_s
        self._wants_table = request.wants_enhancement
        self._publications = 0
        self._absent: tuple[int, float] | None = None
        """A segment that was not there after all, and when the tables were written that had promised it."""
        session_documents = SessionDocuments(
            presentation=presentation_of(documents.tables, documents.at),
            title=documents.tables.typical,
            table=documents.tables.enhancements if self._wants_table else None,
            init=documents.init,
        )
        super().__init__(
            base_url, request, session, session_documents, pool=pool, transport=transport, listener=listener
        )
        self.title_url = documents.at.title_url
        self._note_learning()

    async def segments(self) -> AsyncIterator[PlayableSegment]:
        """See Source. From the distance to keep on; who falls far behind goes on from there.

        Raises ToprungError when the stream began anew.
        """
        segment = self._at_distance() if self._tables.state == "running" else self._tables.first_listed
        begins = True
        while True:
            tables = self._tables
            if not self._is_there(segment):
                if tables.state == "ended" or not await self._wait_for(segment):
                    return
                continue
            if segment < tables.first_stored or self._is_far_behind(segment):
                self._listener.on_failure(f"segment {segment} is too far behind the live edge; leaving some out")
                segment, begins = max(self._at_distance(), segment + 1), True
                continue
            yield self._playable(segment, self._hidden_frames(segment) if begins else 0)
            if self._absent is None or self._absent[0] != segment:
                segment, begins = segment + 1, False

    def _playable(self, segment: int, hidden_frames: int) -> PlayableSegment:
        tables = self._tables
        captured_s = tables.came_s(segment) - self._offset_s
        return PlayableSegment(
            segment=segment,
            frames=tables.frames(segment),
            duration_s=tables.duration_s(segment),
            media_s=tables.begin_s(segment),
            live=LiveMoment(captured_s=captured_s, target_s=tables.latency_s),
            grows=tables.chunk_frames > 0,
            hidden_frames=hidden_frames,
        )

    def _is_there(self, segment: int) -> bool:
        """Whether it can be fetched, whole or while it is made."""
        tables = self._tables
        is_growing = tables.grows and segment == tables.end and self._absent != (segment, tables.updated_s)
        return segment < tables.end or is_growing

    def _wanted_s(self) -> float:
        """The media time that is as far behind the live edge as players are told to be."""
        tables = self._tables
        return self._clock.now_s() + self._offset_s - tables.begun_s - tables.latency_s

    def _at_distance(self) -> int:
        """The segment that has it."""
        tables = self._tables
        wanted = tables.segment_at(self._wanted_s())
        return min(max(wanted, tables.first_listed), tables.end - 1 + tables.grows)

    def _hidden_frames(self, segment: int) -> int:
        """Of the segment that playback begins with: those before the wanted moment, where segments grow."""
        tables = self._tables
        if not tables.grows:
            return 0
        early = int((self._wanted_s() - tables.begin_s(segment)) * tables.typical.fps)
        return min(max(0, early), tables.frames(segment) - 1)

    def _is_far_behind(self, segment: int) -> bool:
        return self._tables.state == "running" and self._at_distance() - segment > FAR_SEGMENTS

    async def _wait_for(self, segment: int) -> bool:
        """Returns once the segment is there, or the stream has ended; False when it was interrupted."""
        tables = self._tables
        due_s = tables.came_s(segment if tables.chunk_frames else segment + 1) - self._offset_s + ASK_EARLIEST_S
        again_s = (tables.chunk_frames or tables.frames(segment)) / tables.typical.fps / 4
        silent_s = max(SILENT_MIN_S, SILENT_SEGMENTS * tables.segment_s)
        asked_s = max(due_s, self._clock.now_s())
        await self._clock.sleep_until(due_s)
        while True:
            await self._refresh()
            if self._is_there(segment) or self._tables.state == "ended":
                return True
            if self._clock.now_s() > asked_s + silent_s + self._tables.waits_s:
                self._listener.on_failure(f"the live stream {self.title.id} was interrupted")
                return False
            await asyncio.sleep(again_s)

    async def _refresh(self) -> None:
        """Read the tables anew. A server that does not answer is asked again with the next segment."""
        try:
            reply = await get_with_retries(
                self._transport,
                urljoin(self.title_url, TABLES_FILE),
                max_bytes=DOCUMENT_MAX_BYTES,
                retries=RetryPolicy(tries=2),
                on_failure=self._listener.on_failure,
            )
        except DownloadError as error:
            if error.status == _GONE:
                raise ToprungError(f"The live stream {self.title.id} began anew; play it again.") from error
            return
        self._listener.on_reply("document", reply)
        tables = read_tables(reply.body, reply.url)
        if not _is_same(tables.typical, self.title):
            raise FormatError(f"{reply.url} tells of another stream than before; play it again.")
        self._tables = tables
        self.table = tables.enhancements if self._wants_table else None
        self.presentation = presentation_of(tables, self._at)
        self._note_learning()

    def _note_learning(self) -> None:
        learning = self._tables.learning
        if self._wants_table and learning is not None and learning.publications != self._publications:
            self._publications = learning.publications
            self._listener.on_learnt(learning)

    async def fetch_segment(self, index: int, view: PlayerView) -> ServedSegment | GrowingSegment:
        """See Source. A stream that began anew is told from a segment that has left the window."""
        try:
            if not self._tables.chunk_frames:
                return await super().fetch_segment(index, view)
            segment = await self._begin_segment(index, view)
            self._absent = None
            return segment
        except DownloadError as error:
            if error.status == _GONE:
                await self._refresh()
            raise

    async def _begin_segment(self, index: int, view: PlayerView) -> GrowingSegment:
        """Tried again as whole ones are, but for one that is not there after all: its source may have gone."""
        grow = partial(self._grow, index, view)
        try:
            return await grow()
        except DownloadError as error:
            if error.status == _ABSENT:
                await self._refuse_absent(index, error)
                await self._reopen()
            elif error.may_pass:
                self._listener.on_failure(str(error))
            else:
                raise
        try:
            return await with_retries(grow, RetryPolicy(tries=3), self._listener.on_failure)
        except DownloadError as error:
            if error.status == _ABSENT:  # the stream has ended meanwhile
                await self._refuse_absent(index, error)
            raise

    async def _refuse_absent(self, index: int, error: DownloadError) -> None:
        """Raises AbsentSegmentError, unless it is the session that the server does not have."""
        if await self._knows_session():
            self._absent = index, self._tables.updated_s
            raise AbsentSegmentError(str(error)) from error

    async def _grow(self, index: int, view: PlayerView) -> GrowingSegment:
        span = self._span(index)
        headers = self._cmcd_headers(view, span.duration_s)
        reply = await self._transport.grow(self._session_url(span.url), headers=headers, max_bytes=SEGMENT_MAX_BYTES)
        decided = self._to_decided(index, reply.headers, view, None)
        return ServedInParts(decided=decided, init=self._init, reply=reply)

    def _span(self, index: int) -> Span:
        return Span(
            url=urljoin(self._at.manifest_url, f"video/{index + 1}.m4s"),
            start_s=self._tables.begin_s(index),
            duration_s=self._tables.duration_s(index),
        )

    def _expected_bytes(self, rendition: str, index: int) -> int | None:
        tables = self._tables
        if not tables.first_stored <= index < tables.end:
            return None
        return tables.sizes[rendition][index - tables.first_stored] or None

    def _plain_vmaf(self, rendition: str, _index: int) -> float:
        return self._tables.typical.plain_quality[rendition].vmaf[0]


def spread_title(typical: Title, segments: int) -> Title:
    """A title of so many usual segments, for what looks segments up by their number in the stream."""
    count = max(1, segments)

    def each(values: tuple[float, ...]) -> tuple[float, ...]:
        return values * count

    return msgspec.structs.replace(
        typical,
        segment_duration_s=typical.segment_duration_s * count,
        segment_frames=typical.segment_frames * count,
        renditions=tuple(
            msgspec.structs.replace(rendition, segment_bytes=rendition.segment_bytes * count)
            for rendition in typical.renditions
        ),
        audio=(),
        plain_quality={
            name: msgspec.structs.replace(
                quality,
                vmaf=each(quality.vmaf),
                vmaf_neg=each(quality.vmaf_neg),
                ssim=each(quality.ssim),
                psnr_y_db=each(quality.psnr_y_db),
                panel=None,
                trusted=each(quality.trusted),
            )
            for name, quality in typical.plain_quality.items()
        },
    )


def _is_same(now: Title, before: Title) -> bool:
    """Whether what was made for the one can go on with the other."""

    def shape(title: Title) -> tuple[object, ...]:
        sizes = [(each.id, each.width_px, each.height_px) for each in title.renditions]
        return title.version, title.display_width_px, title.display_height_px, title.frame_rate, sizes

    return shape(now) == shape(before)


async def open_live_source(
    base_url: str,
    request: ServerSessionRequest,
    session: SessionReply,
    *,
    pool: aiohttp.ClientSession,
    transport: Transport,
    listener: SourceListener,
    clock: SessionClock,
) -> LiveSource:
    """The source of a session on a live title, with all its documents. Raises DownloadError, FormatError."""
    at = LiveAddresses(
        manifest_url=server_url(base_url, session.manifest_url), title_url=title_folder_url(base_url, session)
    )
    documents = await fetch_live_documents(at, transport, listener, clock)
    request = replace(request, version=documents.tables.typical.version)
    return LiveSource(
        base_url, request, session, documents, pool=pool, transport=transport, listener=listener, clock=clock
    )

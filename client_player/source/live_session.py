"""A session on a live title, from the player's side: it follows the live edge, and keeps its distance to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urljoin

import aiohttp
import msgspec

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.title import AudioTrack, Title, segment_file
from abr.errors import FormatError, ToprungError
from abr.records import loads
from abr.virtual_time import SessionClock
from client_player.source.base import PlayableSegment, PlayerView, ServedSegment, SourceListener
from client_player.source.mpd import Presentation, Span, Track
from client_player.source.server_session import ServerSource, server_url, title_folder_url
from client_player.source.session_documents import SessionDocuments
from client_player.source.session_request import ServerSessionRequest, SessionReply
from client_player.source.title_checks import check_title
from client_player.transport.http import (
    DOCUMENT_MAX_BYTES,
    DownloadError,
    RetryPolicy,
    Transport,
    get_with_retries,
    run_both,
)

FAR_SEGMENTS = 3
"""Who falls behind the distance to keep by more than so many segments leaves some out."""
ASK_EARLIEST_S = 0.05
"""A segment is asked after so long after its last picture, and then each quarter of its duration."""
SILENT_SEGMENTS, SILENT_MIN_S = 5, 10.0
"""A stream that has had nothing new for so long was interrupted."""
_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAddresses:
    """Where a live session's documents are. title_url: of the version's folder, with a slash at its end."""

    manifest_url: str
    title_url: str


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
        session_documents = SessionDocuments(
            presentation=_presentation(documents.tables, documents.at),
            title=documents.tables.typical,
            table=documents.tables.enhancements if self._wants_table else None,
            init=documents.init,
        )
        super().__init__(
            base_url, request, session, session_documents, pool=pool, transport=transport, listener=listener
        )
        self.title_url = documents.at.title_url
        self._note_learning()

    @property
    def latency_s(self) -> float:
        """The distance to the live edge that is kept."""
        return self._tables.latency_s

    async def segments(self) -> AsyncIterator[PlayableSegment]:
        """See Source. From the distance to keep on; who falls far behind goes on from there.

        Raises ToprungError when the stream began anew.
        """
        segment = self._at_distance() if self._tables.state == "running" else self._tables.first_listed
        while True:
            tables = self._tables
            if segment >= tables.end:
                if tables.state == "ended" or not await self._wait_for(segment):
                    return
                continue
            if segment < tables.first_stored or self._is_far_behind(segment):
                self._listener.on_failure(f"segment {segment} is too far behind the live edge; leaving some out")
                segment = max(self._at_distance(), segment + 1)
                continue
            yield PlayableSegment(
                segment=segment,
                frames=tables.frames(segment),
                duration_s=tables.duration_s(segment),
                media_s=tables.begin_s(segment),
                live_s=tables.came_s(segment) - self._offset_s,
            )
            segment += 1

    def _at_distance(self) -> int:
        """The segment with the moment that is as far behind the live edge as players are told to be."""
        tables = self._tables
        wanted = tables.segment_at(self._clock.now_s() + self._offset_s - tables.begun_s - tables.latency_s)
        return min(max(wanted, tables.first_listed), tables.end - 1)

    def _is_far_behind(self, segment: int) -> bool:
        return self._tables.state == "running" and self._at_distance() - segment > FAR_SEGMENTS

    async def _wait_for(self, segment: int) -> bool:
        """Returns once the segment is there, or the stream has ended; False when it was interrupted."""
        segment_s = self._tables.segment_s
        due_s = self._tables.came_s(segment + 1) - self._offset_s + ASK_EARLIEST_S
        silent_s = max(SILENT_MIN_S, SILENT_SEGMENTS * segment_s)
        asked_s = max(due_s, self._clock.now_s())
        await self._clock.sleep_until(due_s)
        while True:
            await self._refresh()
            if segment < self._tables.end or self._tables.state == "ended":
                return True
            if self._clock.now_s() > asked_s + silent_s + self._tables.waits_s:
                self._listener.on_failure(f"the live stream {self.title.id} was interrupted")
                return False
            await asyncio.sleep(segment_s / 4)

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
        tables = _read_tables(reply.body, reply.url)
        if not _is_same(tables.typical, self.title):
            raise FormatError(f"{reply.url} tells of another stream than before; play it again.")
        self._tables = tables
        self.table = tables.enhancements if self._wants_table else None
        self.presentation = _presentation(tables, self._at)
        self._note_learning()

    def _note_learning(self) -> None:
        learning = self._tables.learning
        if self._wants_table and learning is not None and learning.publications != self._publications:
            self._publications = learning.publications
            self._listener.on_learnt(learning)

    async def fetch_segment(self, index: int, view: PlayerView) -> ServedSegment:
        """See Source. A stream that began anew is told from a segment that has left the window."""
        try:
            return await super().fetch_segment(index, view)
        except DownloadError as error:
            if error.status == _GONE:
                await self._refresh()
            raise

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDocuments:
    """What a live session needs before its first segment. offset_s: from session time to the server's clock."""

    at: LiveAddresses
    tables: LiveTables
    init: bytes
    offset_s: float


async def fetch_live_documents(
    at: LiveAddresses, transport: Transport, listener: SourceListener, clock: SessionClock
) -> LiveDocuments:
    """All of them, side by side. Raises DownloadError, FormatError."""

    async def get(url: str, kind: str, max_bytes: int) -> bytes:
        reply = await get_with_retries(transport, url, max_bytes=max_bytes, on_failure=listener.on_failure)
        listener.on_reply(kind, reply)
        return reply.body

    async def offset_s() -> float:
        """What to add to session time for the server's clock: it said so halfway between request and answer."""
        asked_s = clock.now_s()
        text = await get(urljoin(at.title_url, "time"), "document", 1024)
        return _seconds(text, at.title_url) - (asked_s + clock.now_s()) / 2

    tables_url = urljoin(at.title_url, TABLES_FILE)
    init_url = urljoin(at.manifest_url, "video/init.mp4")
    (body, init), offset = await run_both(
        run_both(get(tables_url, "document", DOCUMENT_MAX_BYTES), get(init_url, "init", DOCUMENT_MAX_BYTES)),
        offset_s(),
    )
    tables = _read_tables(body, tables_url)
    return LiveDocuments(at=at, tables=tables, init=init, offset_s=offset)


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


def _read_tables(body: bytes, url: str) -> LiveTables:
    tables = loads(body, LiveTables, what=url)
    check_title(tables.typical, url)
    tables.check(url)
    return tables


def _is_same(now: Title, before: Title) -> bool:
    """Whether what was made for the one can go on with the other."""

    def shape(title: Title) -> tuple[object, ...]:
        sizes = [(each.id, each.width_px, each.height_px) for each in title.renditions]
        return title.version, title.display_width_px, title.display_height_px, title.frame_rate, sizes

    return shape(now) == shape(before)


def _presentation(tables: LiveTables, at: LiveAddresses) -> Presentation:
    """The sound of the stored segments; pictures are asked for by their number."""
    return Presentation(
        duration_s=tables.end_s, video=(), audio=tuple(_sound(track, tables, at) for track in tables.typical.audio)
    )


def _sound(track: AudioTrack, tables: LiveTables, at: LiveAddresses) -> Track:
    folder = urljoin(at.title_url, f"audio/{track.id}/")
    spans = [
        Span(
            url=urljoin(folder, segment_file(segment)),
            start_s=tables.begin_s(segment),
            duration_s=tables.duration_s(segment),
        )
        for segment in range(tables.first_stored, tables.end)
    ]
    return Track(
        id=track.id,
        kind="audio",
        codecs=track.codecs,
        bandwidth_bps=track.bandwidth_bps,
        width_px=0,
        height_px=0,
        frame_rate=None,
        init_url=urljoin(folder, "init.mp4"),
        segments=tuple(spans),
        first=tables.first_stored,
        language=track.language,
    )


def _seconds(text: bytes, url: str) -> float:
    """Since 1970, of an instant as xs:dateTime has it. Raises FormatError."""
    try:
        return datetime.fromisoformat(text.decode("ascii").strip()).timestamp()
    except (ValueError, UnicodeDecodeError) as error:
        raise FormatError(f"{url} does not tell the time: {text[:40]!r}.") from error


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

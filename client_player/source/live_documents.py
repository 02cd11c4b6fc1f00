"""What a session on a live title reads before its first segment, and its tables again with each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urljoin

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.title import AudioTrack, segment_file
from abr.errors import FormatError
from abr.records import loads
from abr.virtual_time import SessionClock
from client_player.source.base import SourceListener
from client_player.source.mpd import Presentation, Span, Track
from client_player.source.title_checks import check_title
from client_player.transport.http import DOCUMENT_MAX_BYTES, Transport, get_with_retries, run_both


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAddresses:
    """Where a live session's documents are. title_url: of the version's folder, with a slash at its end."""

    manifest_url: str
    title_url: str


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
    tables = read_tables(body, tables_url)
    return LiveDocuments(at=at, tables=tables, init=init, offset_s=offset)


def read_tables(body: bytes, url: str) -> LiveTables:
    """Raises FormatError, naming `url`."""
    tables = loads(body, LiveTables, what=url)
    check_title(tables.typical, url)
    tables.check(url)
    return tables


def presentation_of(tables: LiveTables, at: LiveAddresses) -> Presentation:
    """The sound of the segments that can be fetched; pictures are asked for by their number."""
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
        for segment in range(tables.first_stored, tables.end + tables.grows)
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

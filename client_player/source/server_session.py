"""A server-driven session, from the player's side: the server decides each segment and sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import aiohttp

from abr.core.enhancement import PLAIN
from abr.core.events import Decided, EventBatch, loads_log
from abr.core.throughput import harmonic_mean
from abr.errors import FormatError
from abr.protocols import cmcd, session_api
from abr.protocols.cmcd import ViewerState
from abr.protocols.cmsd import DYNAMIC, read_chosen
from abr.protocols.structured_fields import Token
from abr.records import dumps
from abr.virtual_time import working
from client_player.source.base import (
    GrowingSegment,
    PlayableSegment,
    PlayerView,
    ServedSegment,
    SourceListener,
    title_segments,
)
from client_player.source.mpd import Span
from client_player.source.session_documents import DocumentFetcher, SessionDocuments
from client_player.source.session_request import ServerSessionRequest, SessionReply, post_session, public_id
from client_player.transport.http import (
    DOCUMENT_MAX_BYTES,
    DownloadError,
    HttpReply,
    RetryPolicy,
    Transport,
    get_with_retries,
    read_body,
)


class ServerSource:
    """A server-driven session, ready to be played. Make it with `open_server_source`."""

    def __init__(
        self,
        base_url: str,
        request: ServerSessionRequest,
        session: SessionReply,
        documents: SessionDocuments,
        *,
        pool: aiohttp.ClientSession,
        transport: Transport,
        listener: SourceListener,
    ) -> None:
        self._base_url, self._request, self._session = base_url, request, session
        self._pool, self._transport, self._listener = pool, transport, listener
        self._first_id = session.id
        self._init = documents.init
        self.title, self.table, self.presentation = documents.title, documents.table, documents.presentation
        self.title_url = title_folder_url(base_url, session)

    async def fetch_segment(self, index: int, view: PlayerView) -> ServedSegment | GrowingSegment:
        """See Source. A session that the server has lost is opened anew, once."""
        try:
            return await self._request_segment(index, view, RetryPolicy(tries=3))
        except DownloadError as error:
            if error.status != 404:
                raise
        await self._reopen()
        return await self._request_segment(index, view, RetryPolicy())

    async def _request_segment(self, index: int, view: PlayerView, retries: RetryPolicy) -> ServedSegment:
        span = self._span(index)
        reply = await get_with_retries(
            self._transport,
            self._session_url(span.url),
            headers=self._cmcd_headers(view, span.duration_s),
            check=lambda reply: self._check_segment(index, reply),
            retries=retries,
            on_failure=self._listener.on_failure,
        )
        return self._to_served_segment(index, reply, view)

    def segments(self) -> AsyncIterator[PlayableSegment]:
        """See Source."""
        return title_segments(self.title)

    def _span(self, index: int) -> Span:
        return self.presentation.video[0].segments[index]

    def _expected_bytes(self, rendition: str, index: int) -> int | None:
        """None where that is not known."""
        return self.title.rendition(rendition).segment_bytes[index]

    def _plain_vmaf(self, rendition: str, index: int) -> float:
        return self.title.plain_quality[rendition].vmaf[index]

    def _session_url(self, url: str) -> str:
        """The manifest's URL of a segment, with the id of the session that is open now."""
        return url.replace(f"/sessions/{self._first_id}/", f"/sessions/{self._session.id}/", 1)

    async def _knows_session(self) -> bool:
        """Whether the server does, as far as it answers."""
        url = urljoin(self._base_url, f"sessions/{self._session.id}")
        try:
            with working():
                async with self._pool.get(url) as response:
                    return response.status != 404
        except (aiohttp.ClientError, TimeoutError, OSError):
            return True

    async def _reopen(self) -> None:
        """Open another session like the first, which the server no longer knows (after a restart, for example)."""
        self._listener.on_failure(
            f"the server does not know session {public_id(self._session.id)}; asking for a new one"
        )
        self._session = await post_session(
            self._pool, self._base_url, replace(self._request, version=self.title.version)
        )

    def _cmcd_headers(self, view: PlayerView, duration_s: float) -> Mapping[str, str]:
        return cmcd.to_headers(self._cmcd_keys(view, duration_s))

    def _cmcd_keys(self, view: PlayerView, duration_s: float) -> cmcd.Cmcd:
        state = ViewerState(
            buffer_s=view.buffer_s,
            backlog_s=view.backlog_s,
            now_s=view.now_s,
            playing=view.playing,
            download=view.downloads[-1] if view.downloads else None,
            owned=view.owned,
        )
        keys: cmcd.Cmcd = {
            "ot": Token("v"),
            "sf": Token("d"),
            "st": Token("v"),
            "sid": public_id(self._session.id),
            "cid": self.title.id,
            "d": round(duration_s * 1000),
            "bl": round(view.buffer_s * 1000),
            "su": not view.playing or view.stalled,
            "bs": view.stalled,
        }
        if view.downloads:
            keys["mtp"] = round(harmonic_mean(view.downloads).throughput_bps / 1000)
        return keys | cmcd.from_viewer(state)

    def _check_segment(self, index: int, reply: HttpReply) -> None:
        """Raises DownloadError when the body is not as long as the title says."""
        rendition, _ = self._read_choice(reply.headers)
        expected = self._expected_bytes(rendition, index)
        if expected is not None and len(reply.body) != expected:
            raise DownloadError(
                f"{reply.url} has {len(reply.body)} bytes; segment {index} of {rendition} has {expected}."
            )

    def _read_choice(self, headers: Mapping[str, str]) -> tuple[str, str]:
        try:
            chosen = read_chosen(headers.get(DYNAMIC, ""))
        except FormatError:
            chosen = None
        rendition, enhancer = chosen or (
            headers.get(session_api.RENDITION, ""),
            headers.get(session_api.ENHANCER, PLAIN),
        )
        if rendition not in {known.id for known in self.title.renditions}:
            raise DownloadError(f"The server sent a segment of {rendition[:64]!r}, which the title does not have.")
        return rendition, enhancer

    def _to_served_segment(self, index: int, reply: HttpReply, view: PlayerView) -> ServedSegment:
        decided = self._to_decided(index, reply.headers, view, len(reply.body))
        return ServedSegment(
            decided=decided,
            body=reply.body,
            init=self._init,
            timing=reply.timing,
            not_before_s=reply.timing.started_s + reply.timing.duration_s + decided.wait_s,
        )

    def _to_decided(self, index: int, headers: Mapping[str, str], view: PlayerView, size_bytes: int | None) -> Decided:
        """size_bytes: None where that is not known yet."""
        rendition, enhancer = self._read_choice(headers)
        usual_bytes = self.title.rendition(rendition).segment_bytes[0]
        return Decided(
            t_s=view.now_s,
            segment=index,
            rendition=rendition,
            enhancer=enhancer[:128],
            wait_s=min(60.0, max(0.0, _parse_number(headers.get(session_api.WAIT_S, ""), 0.0))),
            reason=headers.get(session_api.REASON, "").replace(session_api.PLUS_MINUS, "±")[:1024],
            promised_vmaf=(
                promised := _parse_number(
                    headers.get(session_api.PROMISED_VMAF, ""), self._plain_vmaf(rendition, index)
                )
            ),
            promised_quality=_parse_number(headers.get(session_api.PROMISED_QUALITY, ""), promised),
            size_bytes=usual_bytes if size_bytes is None else size_bytes,
        )

    async def post_events(self, batch: EventBatch) -> bool:
        """See Source."""
        url = urljoin(self._base_url, f"sessions/{self._session.id}/events")
        headers = {"Content-Type": "application/json"}
        try:
            with working():
                async with self._pool.post(url, data=dumps(batch), headers=headers) as response:
                    return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def fetch_decisions(self) -> Sequence[Decided]:
        """See Source."""
        url = urljoin(self._base_url, f"sessions/{self._session.id}/log")
        try:
            with working():
                async with self._pool.get(url) as response:
                    if response.status != 200:
                        return []
                    log, _ = await read_body(response, DOCUMENT_MAX_BYTES)
            return [event for event in loads_log(log) if isinstance(event, Decided)]
        except (aiohttp.ClientError, TimeoutError, OSError, FormatError, DownloadError):
            return []


async def open_server_source(
    base_url: str,
    request: ServerSessionRequest,
    session: SessionReply,
    *,
    pool: aiohttp.ClientSession,
    transport: Transport,
    listener: SourceListener,
) -> ServerSource:
    """The source of a session that `post_session` opened, with all its documents. Raises DownloadError, FormatError."""
    fetcher = DocumentFetcher(
        manifest_url=server_url(base_url, session.manifest_url),
        title_url=title_folder_url(base_url, session),
        session=session,
        transport=transport,
        listener=listener,
    )
    documents = await fetcher.fetch(with_table=request.wants_enhancement)
    return ServerSource(base_url, request, session, documents, pool=pool, transport=transport, listener=listener)


def server_url(base_url: str, url: str) -> str:
    """A URL that the server told. Behind a proxy it may not know the path under which viewers reach it."""
    prefix = urlsplit(base_url).path.rstrip("/")
    lacks_prefix = url.startswith("/") and not url.startswith(f"{prefix}/")
    return urljoin(base_url, prefix + url if lacks_prefix else url)


def title_folder_url(base_url: str, session: SessionReply) -> str:
    """Of the title folder of the session's version, with a slash at its end."""
    return urljoin(server_url(base_url, session.title_url), ".")


def _parse_number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if abs(value) < 1e9 else default

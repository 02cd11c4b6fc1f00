"""What a server-driven session needs before its first segment: manifest, title, enhancement table, init segment."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urljoin

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.title import TITLE_FILE, Title
from abr.errors import FormatError
from abr.media.ladders import in_codec
from abr.protocols import cmcd
from abr.protocols.structured_fields import Token
from abr.records import loads
from client_player.source.base import SourceListener
from client_player.source.mpd import MANIFEST_MAX_BYTES, Presentation, loads_mpd
from client_player.source.session_request import SessionReply, public_id
from client_player.source.title_checks import check_title
from client_player.transport.http import (
    DOCUMENT_MAX_BYTES,
    DownloadError,
    HttpReply,
    RetryPolicy,
    Transport,
    get_with_retries,
    run_both,
)

_CMCD_OBJECTS = {"init": "i", "manifest": "m"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDocuments:
    """title: in the session's codec. table: None when nothing is to be enhanced, or can be. init: fits them all."""

    presentation: Presentation
    title: Title
    table: EnhancementTable | None
    init: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFetcher:
    """Fetches the documents of one session. title_url: the title folder's, with a slash at its end."""

    manifest_url: str
    title_url: str
    session: SessionReply
    transport: Transport
    listener: SourceListener

    async def fetch(self, *, with_table: bool) -> SessionDocuments:
        """All documents, fetched side by side. Raises DownloadError, FormatError."""
        (presentation, init), (title, table) = await run_both(
            self._fetch_manifest_and_init(), run_both(self._fetch_title(), self._fetch_table(with_table))
        )
        expected, found = len(title.segment_duration_s), len(presentation.video[0].segments)
        if expected != found:
            raise FormatError(
                f"The manifest lists {found} segments and the title {expected}: they do not belong together."
            )
        return SessionDocuments(presentation=presentation, title=title, table=table, init=init)

    async def _fetch_manifest_and_init(self) -> tuple[Presentation, bytes]:
        manifest = await self._get(self.manifest_url, "manifest", MANIFEST_MAX_BYTES)
        presentation = loads_mpd(manifest.body, manifest.url)
        return presentation, (await self._get(presentation.video[0].init_url, "init", DOCUMENT_MAX_BYTES)).body

    async def _fetch_title(self) -> Title:
        reply = await self._get(urljoin(self.title_url, TITLE_FILE), "manifest", DOCUMENT_MAX_BYTES)
        title = loads(reply.body, Title, what=reply.url)
        check_title(title, reply.url)
        return in_codec(title, self.session.codec)

    async def _fetch_table(self, wanted: bool) -> EnhancementTable | None:
        """None when it is not wanted, or when the title has none (404)."""
        if not wanted:
            return None
        url = urljoin(self.title_url, ENHANCEMENTS_FILE)
        try:
            reply = await self._get(url, "manifest", DOCUMENT_MAX_BYTES, optional=True)
        except DownloadError as error:
            if error.status == 404:
                return None
            raise
        return loads(reply.body, EnhancementTable, what=reply.url)

    async def _get(self, url: str, kind: str, max_bytes: int, *, optional: bool = False) -> HttpReply:
        """kind: `manifest` or `init`. An optional document is asked for once, and its absence is no failure."""
        keys = {"ot": Token(_CMCD_OBJECTS[kind]), "sid": public_id(self.session.id)}
        reply = await get_with_retries(
            self.transport,
            url,
            headers=cmcd.to_headers(keys),
            max_bytes=max_bytes,
            retries=RetryPolicy(tries=1) if optional else RetryPolicy(),
            on_failure=(lambda _detail: None) if optional else self.listener.on_failure,
        )
        self.listener.on_reply("init" if kind == "init" else "document", reply)
        return reply

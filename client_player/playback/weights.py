"""Weights chunks: downloaded when a decided enhancer needs them, checked against their sha256, kept for the session."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from urllib.parse import urljoin

from abr.core.enhancement import Chunk, Offer
from client_player.transport.http import DownloadError, HttpReply, RetryPolicy, Transport, get_with_retries

_PATH = re.compile(r"enhancers/[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")
_CHUNK_MAX_BYTES = 64 << 20
_ALL_MAX_BYTES = 256 << 20
_PATIENCE = RetryPolicy(tries=3)


class WeightsStore:
    """The chunks of one session. title_url: URL of the title folder, with a slash at its end."""

    def __init__(
        self,
        transport: Transport,
        title_url: str,
        *,
        on_chunk: Callable[[Chunk, HttpReply], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._transport, self._title_url = transport, title_url
        self._on_chunk, self._on_failure = on_chunk, on_failure
        self._chunks: dict[str, bytes] = {}
        self._fetching = asyncio.Lock()

    @property
    def owned(self) -> tuple[str, ...]:
        """sha256 of each chunk, in the order of their download."""
        return tuple(self._chunks)

    def owns(self, offer: Offer) -> bool:
        """Whether all chunks of the offer are here."""
        return all(chunk.sha256 in self._chunks for chunk in offer.chunks)

    def chunks_of(self, offer: Offer) -> tuple[bytes, ...]:
        """The bodies of all chunks of an offer that is owned, in order."""
        return tuple(self._chunks[chunk.sha256] for chunk in offer.chunks)

    async def fetch(self, offer: Offer, may_start: asyncio.Event) -> bool:
        """Download the missing chunks of an offer. A chunk is begun only while `may_start` is set.

        Returns False when a download fails; `on_failure` gets the message.
        """
        for chunk in offer.chunks:
            try:
                async with self._fetching:
                    await may_start.wait()
                    if chunk.sha256 not in self._chunks:
                        await self._fetch(chunk)
            except DownloadError as error:
                self._on_failure(f"weights {chunk.file}: {error}"[:1024])
                return False
        return True

    async def _fetch(self, chunk: Chunk) -> None:
        check_chunk(chunk, sum(map(len, self._chunks.values())))
        reply = await get_with_retries(
            self._transport,
            urljoin(self._title_url, chunk.file),
            max_bytes=chunk.size_bytes,
            retries=_PATIENCE,
            check=lambda reply: _check(chunk, reply),
            on_failure=self._on_failure,
        )
        self._chunks[chunk.sha256] = reply.body
        self._on_chunk(chunk, reply)


def check_chunk(chunk: Chunk, held_bytes: int = 0) -> None:
    """Raises DownloadError for a chunk that no honest table names, or that is too large beside what is held."""
    if not _PATH.fullmatch(chunk.file) or ".." in chunk.file:
        raise DownloadError(f"the table names the file {chunk.file!r}, which is refused", may_pass=False)
    if chunk.size_bytes > _CHUNK_MAX_BYTES or held_bytes + chunk.size_bytes > _ALL_MAX_BYTES:
        raise DownloadError(f"a chunk of {chunk.size_bytes} bytes is more than is taken", may_pass=False)


def _check(chunk: Chunk, reply: HttpReply) -> None:
    digest = hashlib.sha256(reply.body).hexdigest()
    if digest != chunk.sha256:
        raise DownloadError(f"{reply.url} has sha256 {digest[:12]}…, the table says {chunk.sha256[:12]}…; not used.")

"""The weights of one title: each chunk comes over the backhaul once, for all viewers, and beside the segments."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from abr.core.enhancement import Chunk, Offer
from abr.errors import ToprungError
from client_player.edge.cache.disk_cache import DiskCache
from client_player.edge.origin.backhaul import OriginAwayError
from client_player.edge.origin.mirror import DOCUMENT_WORTH, Mirror
from client_player.edge.origin.titles import MirroredTitle
from client_player.playback.weights import check_chunk
from server.concurrency.shared_task import SharedTasks

log = logging.getLogger("toprung.edge")


class TitleWeights:
    """The chunks of a title: which are here, and fetching the others.

    refused: some are not what the title's table says, or the origin does not have them.
    """

    def __init__(self, title: MirroredTitle, mirror: Mirror, cache: DiskCache) -> None:
        self._title, self._mirror, self._cache = title, mirror, cache
        self._fetching = SharedTasks[None]()
        self.refused = False

    @property
    def owned(self) -> frozenset[str]:
        """sha256 of each chunk that is here."""
        return frozenset(chunk.sha256 for chunk in self._chunks() if self._path(chunk) in self._cache)

    def has(self, offer: Offer) -> bool:
        """Whether all chunks of an offer are here. What is not is fetched from now on, one chunk after the other."""
        if all(self._path(chunk) in self._cache for chunk in offer.chunks):
            return True
        if not self.refused:
            self._fetching.start(offer.weights_sha256, lambda: self._fetch_all(offer))
        return False

    async def chunks(self, offer: Offer) -> tuple[bytes, ...]:
        """All chunks of an offer, in order; none for generic weights. Raises OriginAwayError, DownloadError."""
        return tuple([await self._fetch(chunk) for chunk in offer.chunks])

    async def close(self) -> None:
        """Give up the downloads under way."""
        await self._fetching.close()

    async def _fetch_all(self, offer: Offer) -> None:
        try:
            await self.chunks(offer)
        except OriginAwayError:
            return
        except ToprungError as error:
            log.warning("%s: weights of %s: %s", self._title.title.id, offer.architecture, error)
            self.refused = True

    async def _fetch(self, chunk: Chunk) -> bytes:
        check_chunk(chunk)
        fetched = await self._mirror.lasting(
            self._path(chunk), "weights", worth=DOCUMENT_WORTH, size_max_bytes=chunk.size_bytes, sha256=chunk.sha256
        )
        return fetched.body

    def _chunks(self) -> Iterator[Chunk]:
        for _, offer in self._title.table.named_offers() if self._title.table else ():
            yield from offer.chunks

    def _path(self, chunk: Chunk) -> str:
        return f"{self._title.title.id}/{chunk.file}"

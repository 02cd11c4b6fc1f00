"""The weights of one title: each chunk comes over the backhaul once, for all viewers, and beside the segments."""

from __future__ import annotations

from abr.core.enhancement import Chunk, Offer
from client_player.edge.origin.mirror import DOCUMENT_WORTH, Mirror
from client_player.edge.origin.titles import MirroredTitle
from client_player.playback.weights import check_chunk


class TitleWeights:
    """Fetches the chunks of a title. owned: sha256 of each that is here."""

    def __init__(self, title: MirroredTitle, mirror: Mirror) -> None:
        self._title, self._mirror = title, mirror
        self.owned: set[str] = set()

    async def fetch(self, offer: Offer) -> tuple[bytes, ...]:
        """All chunks of an offer, in order; none for generic weights. Raises OriginAwayError, DownloadError."""
        return tuple([await self._fetch(chunk) for chunk in offer.chunks])

    async def _fetch(self, chunk: Chunk) -> bytes:
        check_chunk(chunk)
        path = f"{self._title.title.id}/{chunk.file}"
        fetched = await self._mirror.lasting(
            path, "weights", worth=DOCUMENT_WORTH, size_max_bytes=chunk.size_bytes, sha256=chunk.sha256
        )
        self.owned.add(chunk.sha256)
        return fetched.body

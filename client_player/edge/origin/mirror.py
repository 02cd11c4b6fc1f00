"""The origin's files, each fetched once: from the cache, from another node, or over the backhaul."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from abr.core.control import Download
from abr.virtual_time import SessionClock
from client_player.edge.cache.disk_cache import DiskCache
from client_player.edge.origin.backhaul import Backhaul
from client_player.edge.site.site import Site, made_once
from client_player.transport.http import DOCUMENT_MAX_BYTES, SEGMENT_MAX_BYTES, DownloadError
from server.concurrency.shared_task import SharedTasks
from server.lru_cache import LruCache

DOCUMENT_WORTH = 1e6
"""Tables and weights: all else rests on them, so they go last."""
MEDIA_WORTH = 10.0
"""VMAF points that a segment is worth for having come over the backhaul."""
FRESH_S = 30.0
"""A document is asked for again after this long; if it has not changed, that costs a few bytes."""
_NOT_MODIFIED = 304
_SEEN_MAX = 4096
LIST = "titles.json"
"""Where the list of the origin's titles is kept: no title's files lie there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file's bytes. timing: of its download; None when it was here."""

    body: bytes = field(repr=False)
    timing: Download | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the origin last said of a document, and when: its ETag, or the status with which it refused it."""

    at_s: float
    etag: str = ""
    refused_status: int = 0


class Mirror:
    """Files of the origin below `titles/`, by their path there, which is their key in the cache too."""

    def __init__(self, backhaul: Backhaul, cache: DiskCache, clock: SessionClock, site: Site) -> None:
        self._backhaul, self._cache, self._clock, self._site = backhaul, cache, clock, site
        self._fetching = SharedTasks[Fetched]()
        self._seen = LruCache[str, _Seen](_SEEN_MAX)

    @property
    def origin_up(self) -> bool:
        """Whether the origin answered when it was last asked."""
        return self._backhaul.down_s is None

    async def lasting(
        self,
        path: str,
        kind: str,
        *,
        worth: float = MEDIA_WORTH,
        size_max_bytes: int = SEGMENT_MAX_BYTES,
        sha256: str = "",
    ) -> Fetched:
        """A file that never changes. sha256: what it must have, where that is known.

        Raises OriginAwayError when it is not here and the origin is away, DownloadError when that refuses.
        """
        if (body := await self._cache.get(path)) is not None:
            return Fetched(body=body)
        return await self._fetching.run(path, lambda: self._fetch(path, kind, worth, size_max_bytes, sha256))

    async def document(self, path: str) -> bytes:
        """A file that may change. The one that is kept, and if it is older than FRESH_S the origin is asked meanwhile.

        Raises as `lasting` does.
        """
        seen = self._seen.get(path)
        if seen is not None and seen.refused_status and self._is_fresh(seen):
            raise DownloadError(f"The origin has no {path}.", status=seen.refused_status)
        kept = await self._cache.get(path)
        if kept is None:
            return (await self._fetching.run(path, lambda: self._renew(path, None))).body
        if seen is None or not self._is_fresh(seen):
            self._fetching.start(path, lambda: self._renew(path, kept))
        return kept

    async def close(self) -> None:
        """Give up the downloads under way."""
        await self._fetching.close()

    async def _fetch(self, path: str, kind: str, worth: float, size_max_bytes: int, sha256: str) -> Fetched:
        async with made_once(self._site, path) as made:
            if made is not None:
                fetched = Fetched(body=made)
            else:
                reply = await self._backhaul.get(f"titles/{path}", kind, max_bytes=size_max_bytes)
                fetched = Fetched(body=reply.body, timing=reply.timing)
            if sha256 and hashlib.sha256(fetched.body).hexdigest() != sha256:
                raise DownloadError(f"{path} does not have the SHA-256 that the title's table names; it is not used.")
            await self._cache.put(path, fetched.body, worth)
        return fetched

    async def _renew(self, path: str, kept: bytes | None) -> Fetched:
        seen, now_s = self._seen.get(path), self._clock.now_s()
        headers = {"If-None-Match": seen.etag} if kept is not None and seen is not None and seen.etag else {}
        try:
            url = f"titles/{path}" if path != LIST else "titles"
            reply = await self._backhaul.get(url, "document", max_bytes=DOCUMENT_MAX_BYTES, headers=headers)
        except DownloadError as error:
            if error.status == _NOT_MODIFIED and kept is not None and seen is not None:
                self._seen.put(path, replace(seen, at_s=now_s))
                return Fetched(body=kept)
            self._seen.put(path, _Seen(at_s=now_s, refused_status=error.status))
            self._cache.drop(path)
            raise
        self._seen.put(path, _Seen(at_s=now_s, etag=reply.headers.get("ETag", "")))
        if reply.body != kept:
            await self._cache.put(path, reply.body, DOCUMENT_WORTH)
        return Fetched(body=reply.body, timing=reply.timing)

    def _is_fresh(self, seen: _Seen) -> bool:
        return self._clock.now_s() < seen.at_s + FRESH_S

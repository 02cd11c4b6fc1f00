"""Parts of segments, read once for all who ask for them."""

from __future__ import annotations

from pathlib import Path

from abr.core.title import part_file
from server.concurrency.shared_call import SharedCalls
from server.errors import RequestError
from server.live_edge.growing import read_part
from server.lru_cache import LruCache
from server.media.library import Library

KEPT_BYTES_MAX = 64 << 20
READS_AT_ONCE = 4


class LiveParts:
    """The parts of live titles' segments, whole or under way."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: LruCache[tuple[str, str, str, int], bytes] = LruCache(KEPT_BYTES_MAX)
        self._reads: SharedCalls[bytes | None] = SharedCalls(READS_AT_ONCE)

    async def read(self, title_id: str, version: str, segment: str, part: int) -> bytes | None:
        """Part `part` (0-based) of the segment at that path in that version; None when it has fewer.

        Raises RequestError 404 when there is nothing of the segment.
        """
        key = title_id, version, segment, part
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        try:
            found = await self._reads.run(key, self._read, *key)
        except OSError as error:
            name = part_file(0, part).replace(part_file(0, part)[:9], Path(segment).stem)
            raise RequestError(404, f"There is no part {name!r} in the live title {title_id!r}.") from error
        if found is not None:
            self._kept.put(key, found, len(found))
        return found

    def _read(self, title_id: str, version: str, segment: str, part: int) -> bytes | None:
        folder = self._library.live_folder(title_id, version)
        if folder is None:
            raise FileNotFoundError(segment)
        path = folder / segment
        if not path.parent.resolve().is_relative_to(folder.resolve()):
            raise FileNotFoundError(segment)
        return read_part(path, part)

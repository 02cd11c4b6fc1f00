"""The origin's titles as the node knows them: their tables, read again now and then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.enhancement import ENHANCEMENTS_FILE, Currency, EnhancementTable
from abr.core.pricing import TitleOptions
from abr.core.title import TITLE_FILE, Identifier, Title
from abr.errors import FormatError
from abr.media.ladders import in_codec
from abr.media.video_codecs import VideoCodec, codec_of
from abr.records import loads
from client_player.edge.origin.backhaul import OriginAwayError
from client_player.edge.origin.mirror import LIST, Mirror
from client_player.source.title_checks import check_title
from client_player.transport.http import DownloadError
from server.lru_cache import LruCache
from server.media.versions import version_folder

_TITLES_MAX = 64
"""Titles whose tables are kept in memory."""
_ABSENT = (403, 404, 410)


class TitleLine(msgspec.Struct, frozen=True):
    """A line of the origin's list. live: set of a running stream, which a node does not mirror."""

    id: Identifier
    duration_s: float
    live: str | None = None


class TitleList(msgspec.Struct, frozen=True):
    """What the origin answers to GET /titles, as far as a node needs it."""

    titles: Annotated[tuple[TitleLine, ...], Meta(max_length=10_000)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MirroredTitle:
    """One title in one version, with all that may be offered of it. table: None where nothing lifts it."""

    title: Title
    table: EnhancementTable | None
    options: TitleOptions
    start_s: tuple[float, ...]
    """Media time at which each segment begins, and the title ends."""
    first_frame: tuple[int, ...]

    @property
    def key(self) -> str:
        """What its segments' names in the cache begin with: the title, and the version of its media."""
        return f"{self.title.id}/{version_folder(self.title.version)}"

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(*self.title.frame_rate)


class Titles:
    """All titles of the origin. Those in other codecs than H.264 are mirrored as they are."""

    def __init__(self, mirror: Mirror, currency: Currency) -> None:
        self._mirror, self._currency = mirror, currency
        self._known = LruCache[str, tuple[bytes, bytes, MirroredTitle]](_TITLES_MAX)

    async def list(self) -> Sequence[TitleLine]:
        """The titles that can be mirrored. Raises OriginAwayError, DownloadError, FormatError."""
        found = loads(await self._mirror.document(LIST), TitleList, what="The origin's list of titles")
        return [line for line in found.titles if line.live is None]

    async def get(self, title_id: str, version: str = "") -> MirroredTitle:
        """A title as it is now, or in the version that a viewer has begun with.

        Raises OriginAwayError, DownloadError, FormatError for tables that cannot be used.
        """
        try:
            current = await self._load(title_id, "")
        except DownloadError as error:
            if error.status not in _ABSENT or not version:
                raise
            return await self._load(title_id, version)
        return current if version in ("", current.title.version) else await self._load(title_id, version)

    async def _load(self, title_id: str, version: str) -> MirroredTitle:
        folder = f"{title_id}/{version_folder(version)}"
        data = await self._mirror.document(folder + TITLE_FILE)
        table_data = await self._optional(folder + ENHANCEMENTS_FILE)
        known = self._known.get(folder)
        if known is not None and known[:2] == (data, table_data):
            return known[2]
        made = _mirrored(title_id, data, table_data, self._currency)
        self._known.put(folder, (data, table_data, made))
        return made

    async def _optional(self, path: str) -> bytes:
        """Nothing where there is none, or none is kept and the origin is away: the title then plays as it comes."""
        try:
            return await self._mirror.document(path)
        except OriginAwayError:
            return b""
        except DownloadError as error:
            if error.status in _ABSENT:
                return b""
            raise


def _mirrored(title_id: str, data: bytes, table_data: bytes, currency: Currency) -> MirroredTitle:
    what = f"{title_id}/{TITLE_FILE} of the origin"
    title = in_codec(loads(data, Title, what=what), VideoCodec.H264)
    check_title(title, what)
    if title.id != title_id:
        raise FormatError(f"{what} is that of {title.id!r}.")
    if not title.version:
        raise FormatError(f"{what} tells no version of its media, without which none can be kept. Prepare it again.")
    liftable = bool(table_data) and title.may_be_enhanced and _is_h264(title)
    table = loads(table_data, EnhancementTable, what=f"{title_id}/{ENHANCEMENTS_FILE}") if liftable else None
    return MirroredTitle(
        title=title,
        table=table,
        options=TitleOptions(title, table, currency),
        start_s=tuple(accumulate(title.segment_duration_s, initial=0.0)),
        first_frame=tuple(accumulate(title.segment_frames, initial=0)),
    )


def _is_h264(title: Title) -> bool:
    """Lifted pictures are encoded by x264, and share a Representation with those that are not lifted."""
    try:
        return all(codec_of(rendition.codecs) is VideoCodec.H264 for rendition in title.renditions)
    except ValueError:
        return False

"""Files of titles, over HTTP: found, cached and sent without ever blocking the loop."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from abr.controllers.toprung.plan_file import PlanFile
from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.core.title import TITLE_FILE
from abr.errors import FormatError, StorageError, UnknownNameError
from server.clock import Clock
from server.concurrency.shared_call import SharedCalls
from server.errors import DamagedTitleError, RequestError
from server.lru_cache import LruCache
from server.media.conditional_requests import Evaluation
from server.media.descriptor import OpenFile
from server.media.kept_versions import kept_folder
from server.media.library import Library, LoadedTitle
from server.media.live_file import find_live_file, refuse_live
from server.media.live_title import LIVE_MANIFEST
from server.media.media_file import (
    BRIEF,
    IMMUTABLE,
    REPLACED,
    MediaFile,
    describe,
    find_media_file,
    headers_of,
    is_in_place,
    lead,
    move_urls,
    read,
    validators_of,
)
from server.media.title_index import TitleIndex, TitleSummary
from server.media.title_plans import read_plans
from server.media.versions import cdn_title_url, is_lasting, is_of_session, leads_to_version, session_title_base
from server.open_files import CACHED_FILES_MAX

FRESH_S = 1.0
"""What the disk said is believed for this long."""
SLOWEST_BYTES_PER_S = 2000
"""A viewer who takes a body more slowly than this is let go."""
FILES_MAX = 16_384
"""Remembered of each kind; about two kilobytes each."""
LIVE_FRESH_S = 0.1
"""The same of the manifests of a running stream."""
LOADS_AT_ONCE = 4
"""Titles that are read at the same time; the same one is read once, however many ask for it."""
TITLES_BYTES_MAX = 128 << 20
TITLE_BYTES_A_FILE_BYTE = 3
"""About how much memory a title takes for each byte of its JSON files."""

log = logging.getLogger("toprung.media")


class TitleCache:
    """The library as the server sees it: what was read stays in memory, and is looked at again each FRESH_S."""

    def __init__(
        self,
        library: Library,
        clock: Clock,
        *,
        cache_bytes_max: int,
        cache_file_bytes_max: int,
        open_files_max: int = CACHED_FILES_MAX,
        media_base: str = "",
    ) -> None:
        """open_files_max: files kept open, the longest unused closed first. media_base: setting of that name."""
        self._library = library
        self._clock = clock
        self._file_bytes_max = cache_file_bytes_max
        self._media_base = media_base
        self._bodies: LruCache[tuple[Path, str], bytes] = LruCache(cache_bytes_max)
        self._descriptors: LruCache[tuple[Path, str], OpenFile] = LruCache(open_files_max)
        self._media_files: LruCache[tuple[str, str, str], tuple[str, MediaFile]] = LruCache(FILES_MAX)
        self._files: LruCache[tuple[str, str, str], tuple[float, MediaFile]] = LruCache(FILES_MAX)
        self._titles: LruCache[tuple[str, str], tuple[float, LoadedTitle]] = LruCache(TITLES_BYTES_MAX)
        self._told: LruCache[str, str] = LruCache(FILES_MAX)
        """What the log said of titles that cannot be read."""
        self._index = TitleIndex(library)
        self._loads: SharedCalls[LoadedTitle] = SharedCalls(LOADS_AT_ONCE)
        self._listings: SharedCalls[tuple[list[TitleSummary], bool]] = SharedCalls()

    async def titles(self, after: str = "", count: int | None = None) -> tuple[list[TitleSummary], bool]:
        """The complete titles whose ids follow `after`, at most `count`, and whether more follow.

        One that cannot be read is left out, and said in the log.
        """
        return await self._listings.run((after, count), self._index.page, after, count)

    async def title(self, title_id: str, version: str = "") -> LoadedTitle:
        """The title as it is now, or the version of it that a viewer began with.

        Raises RequestError: 404 when there is no such title, 410 when that version is gone.
        """
        try:
            current = await self._look_up(title_id, kept="")
            if version in ("", current.title.version):
                return current
        except RequestError:
            if not version:
                raise
        return await self._look_up(title_id, kept=version)

    async def _look_up(self, title_id: str, kept: str) -> LoadedTitle:
        key = title_id, kept
        cached = self._titles.get(key)
        if cached and abs(self._clock() - cached[0]) < FRESH_S:
            return cached[1]
        try:
            what = title_id, kept, cached[1] if cached else None
            return await self._loads.run(key, self._load, *what, keep=partial(self._keep, key))
        except UnknownNameError as error:
            self._titles.drop(key)
            raise RequestError(404, str(error)) from error
        except RequestError:
            self._titles.drop(key)
            raise
        except (FormatError, StorageError) as error:
            self._titles.drop(key)
            self._tell_once(title_id, str(error))
            raise DamagedTitleError(title_id) from error

    def _tell_once(self, title_id: str, what: str) -> None:
        """A line in the log for what is wrong with a title, until something else is."""
        if self._told.get(title_id) != what:
            self._told.put(title_id, what)
            log.warning("title %s cannot be read: %s", title_id, what)

    def _keep(self, key: tuple[str, str], loaded: LoadedTitle) -> None:
        self._titles.put(key, (self._clock(), loaded), loaded.memory_bytes)

    async def file(self, title_id: str, relative: str, version: str = "", *, since_s: float = 0.0) -> MediaFile:
        """A file of the title as it is now, or of one version; manifests of now lead to its version.

        since_s: what was read at that moment or before is not believed.

        Raises RequestError: 404 for everything that is not a regular file inside the title's folder, 410 as `title`.
        """
        key = title_id, version, relative
        cached, now_s = self._files.get(key), self._clock()
        if cached and abs(now_s - cached[0]) < FRESH_S and cached[0] + _stale_s(cached[1]) > since_s:
            return cached[1]
        self._files.drop(key)
        file = await self._found_file(title_id, relative, version)
        if file.cache_control == LIVE_MANIFEST:
            file = await self._read_live(file, title_id, relative, version)
        self._files.put(key, (now_s - _stale_s(file), file))
        return file

    async def _read_live(self, file: MediaFile, title_id: str, relative: str, version: str) -> MediaFile:
        """A running stream's manifest, whose body is in memory now: the file may be replaced at any moment."""
        try:
            await self.body(file)
        except RequestError:
            file = await self._found_file(title_id, relative, version)
            await self.body(file)
        return file

    async def _found_file(self, title_id: str, relative: str, version: str) -> MediaFile:
        try:
            return await self._find_file(title_id, relative, version)
        except (UnknownNameError, OSError) as error:
            raise RequestError(404, f"There is no file {relative[:200]!r} in title {title_id[:64]!r}.") from error

    async def is_live(self, title_id: str) -> bool:
        """Whether there is a live title of that id."""
        return await asyncio.to_thread(self._library.has_live, title_id)

    async def _find_file(self, title_id: str, relative: str, version: str) -> MediaFile:
        live = await asyncio.to_thread(find_live_file, self._library, title_id, relative, version, self._clock())
        if live is not None:
            return live
        if version:
            loaded = await self.title(title_id, version)
            file = await asyncio.to_thread(self._stat_versioned, title_id, relative, version, loaded)
            if is_of_session(relative):
                return await asyncio.to_thread(self._lead_session, file, loaded, title_id)
            return file
        file = await asyncio.to_thread(self._stat_file, title_id, relative)
        if not leads_to_version(relative):
            return file
        try:
            led_to = (await self.title(title_id)).title.version
        except DamagedTitleError:
            return file  # what can be served of a damaged title is served
        return await asyncio.to_thread(lead, file, led_to) if led_to else file

    def _lead_session(self, file: MediaFile, loaded: LoadedTitle, title_id: str) -> MediaFile:
        """A session's manifest, made to lead to the title's files where they are for its viewer."""
        version = loaded.title.version
        before, after = session_title_base(loaded.stored_id, version), session_title_base(title_id, version)
        if self._media_base and version:
            after = cdn_title_url(self._media_base, title_id, version)
        return file if before == after else move_urls(file, before, after)

    async def media_file(self, title_id: str, relative: str, version: str = "", *, live: bool = False) -> MediaFile:
        """As `file`, for media: segments and weights are looked at again only when their title has changed.

        live: of a live title, whose segments of one version never change.
        """
        revision = version if live else (await self.title(title_id, version)).revision
        key = title_id, version, relative
        cached = self._media_files.get(key)
        if cached is not None and cached[0] == revision != "":
            return cached[1]
        file = await self._found_file(title_id, relative, version)
        headers = headers_of(file, Evaluation(200, 0, file.size_bytes))
        del headers["Cache-Control"]
        file = replace(file, head="".join(f"\r\n{name}: {value}" for name, value in headers.items()))
        self._media_files.put(key, (revision, file))
        return file

    async def plans(self, title_id: str, version: str = "") -> list[PlanFile]:
        """The plans that lie with a title. Raises as `title`."""
        loaded = await self.title(title_id, version)
        folder = self._library.root / title_id
        if loaded.kept:
            folder = kept_folder(self._library.root, title_id, loaded.kept)
        stored = msgspec.structs.replace(loaded.title, id=loaded.stored_id)
        return await asyncio.to_thread(read_plans, folder, stored, loaded.table)

    def cached_body(self, file: MediaFile) -> bytes | OpenFile | None:
        """The bytes of a small file, or an open larger one, when they are here already."""
        key = (file.path, file.validators.etag)
        if file.size_bytes <= self._file_bytes_max:
            return self._bodies.get(key)
        return self._descriptors.get(key)

    async def open_body(self, file: MediaFile) -> bytes | OpenFile:
        """The same, from the disk. Raises RequestError 503 when it is no longer what it was."""
        body = await self.body(file)
        if body is not None:
            return body
        return await self.open_file(file)

    async def open_file(self, file: MediaFile) -> OpenFile:
        """The file itself, kept open for who asks next. Raises RequestError 503 when it is no longer what it was."""
        key = (file.path, file.validators.etag)
        opened = self._descriptors.get(key)
        if opened is None:
            opened = await asyncio.to_thread(describe, file)
            self._descriptors.put(key, opened)
        return opened

    async def is_in_place(self, file: MediaFile) -> bool:
        """Whether the file is still where it was when it was looked at."""
        return await asyncio.to_thread(is_in_place, file)

    def close_files(self) -> None:
        """Close what is kept open, but for what is being sent: descriptors have run out."""
        self._descriptors.clear()

    async def body(self, file: MediaFile) -> bytes | None:
        """The whole file from memory, or None when it is too large for that."""
        if file.size_bytes > self._file_bytes_max and not (file.led_to or file.moved_urls):
            return None
        key = (file.path, file.validators.etag)
        body = self._bodies.get(key)
        if body is None:
            body = await asyncio.to_thread(read, file)
            self._bodies.put(key, body, len(body))
        return body

    async def packed(self, file: MediaFile) -> tuple[MediaFile, bytes] | None:
        """The gzip form of a file, a representation with a tag of its own; None when it is too large for memory."""
        validators = replace(file.validators, etag=f"{file.validators.etag}-gzip")
        packed = replace(file, encoding="gzip", validators=validators)
        key, plain = (packed.path, packed.validators.etag), self.cached_body(file)
        if isinstance(plain, bytes) and self._bodies.get(key) is None:
            shrunk = await asyncio.to_thread(gzip.compress, plain, mtime=0)
            self._bodies.put(key, shrunk, len(shrunk))
        body = await self.body(packed)
        return None if body is None else (replace(packed, size_bytes=len(body)), body)

    def _load(self, title_id: str, kept: str, cached: LoadedTitle | None) -> LoadedTitle:
        self._check_title(title_id, kept)
        folder = self._library.folder(title_id, kept)
        inode = folder.stat().st_ino
        statuses = [self._stat(title_id, name, kept) for name in (TITLE_FILE, ENHANCEMENTS_FILE)]
        revision = f"{inode}|" + "|".join(validators_of(status).etag if status else "" for status in statuses)
        if cached and cached.revision == revision:
            return cached
        stored, table = self._library.stored_title(title_id, kept), self._library.enhancements(title_id, kept)
        file_bytes = sum(status.st_size for status in statuses if status)
        memory_bytes = file_bytes * TITLE_BYTES_A_FILE_BYTE
        if folder.stat().st_ino != inode:
            raise RequestError(503, REPLACED, {"Retry-After": "1"})
        return LoadedTitle(
            title=msgspec.structs.replace(stored, id=title_id),
            stored_id=stored.id,
            table=table,
            revision=revision,
            folder=inode,
            kept=kept,
            memory_bytes=memory_bytes,
        )

    def _check_title(self, title_id: str, kept: str) -> None:
        """Raises RequestError for an unknown title or version, at the same cost however many there are."""
        if kept and self._library.has_kept(title_id, kept):
            refuse_live(self._library, title_id, self._clock(), kept)
            return
        if not self._library.has_title(title_id):
            refuse_live(self._library, title_id, self._clock())
            raise RequestError(404, f"There is no title named {title_id[:64]!r}; GET /titles lists what there is.")
        if kept:
            raise RequestError(410, f"Title {title_id!r} was prepared anew and version {kept} is gone; begin again.")

    def _stat(self, title_id: str, name: str, kept: str) -> os.stat_result | None:
        try:
            return self._library.path(title_id, name, kept).stat()
        except UnknownNameError:
            if name == TITLE_FILE:
                raise
            return None

    def _stat_versioned(self, title_id: str, relative: str, version: str, loaded: LoadedTitle) -> MediaFile:
        """The version may have been replaced since it was loaded, or be just now: then it is among those kept."""
        moved = kept_folder(self._library.root, title_id, version)
        with suppress(UnknownNameError, OSError):
            file = self._stat_file(title_id, relative, version, loaded.kept)
            if self._library.folder(title_id, loaded.kept).stat().st_ino == loaded.folder:
                return replace(file, moved=moved / relative)
        if not self._library.has_kept(title_id, version):
            raise UnknownNameError("file", relative, ())
        return self._stat_file(title_id, relative, version, version)

    def _stat_file(self, title_id: str, relative: str, version: str = "", kept: str = "") -> MediaFile:
        self._check_title(title_id, kept)
        path, folder = self._library.path(title_id, relative, kept), self._library.folder(title_id, kept).name
        return find_media_file(path, folder, relative, IMMUTABLE if is_lasting(relative, version) else BRIEF)


def _stale_s(file: MediaFile) -> float:
    """How much sooner than other files it is looked at again."""
    return FRESH_S - LIVE_FRESH_S if file.cache_control == LIVE_MANIFEST else 0.0

"""Files of titles, over HTTP: found, cached and sent without ever blocking the loop."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from abr.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.errors import ToprungError, UnknownNameError
from abr.media import TITLE_FILE, Title
from server.cache import Cache
from server.conditions import Outcome, Validators, evaluate, takes_gzip
from server.library import Library
from server.line import Descriptor
from server.problems import RequestError
from server.store import Clock

FRESH_S = 1.0
"""What the disk said is believed for this long."""
SLOWEST_BYTES_PER_S = 2000
"""A viewer who takes a body more slowly than this is let go."""
DESCRIPTORS_MAX = 1024
"""Files kept open, the longest unused closed first."""
FILES_MAX = 65_536
TITLES_MAX = 256

IMMUTABLE = "public, max-age=31536000, immutable"
BRIEF = "public, max-age=2"
PRIVATE = "private, no-store"

log = logging.getLogger("toprung.media")

_TYPES = {
    ".mpd": "application/dash+xml",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mp4": "video/mp4",
    ".m4s": "video/iso.segment",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".vtt": "text/vtt",
}
_AUDIO_TYPE = "audio/mp4"
_TEXT_SUFFIXES = (".mpd", ".m3u8", ".json", ".vtt")
"""Files that shrink to a third, and that a viewer waits for before the first segment."""
_IMMUTABLE_FOLDERS = ("video", "audio", "enhancers")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """One file of a title as it was when last looked at."""

    path: Path
    size_bytes: int
    validators: Validators
    content_type: str
    cache_control: str
    encoding: str = ""
    """`gzip`, or nothing: size_bytes and validators are those of the encoded form."""

    head: str = ""
    """The header lines that say all of this but for Cache-Control, each after its line end, for the whole file."""

    @property
    def is_text(self) -> bool:
        return self.path.suffix in _TEXT_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTitle:
    """A title with its enhancement table; `version` changes whenever either file does."""

    title: Title
    table: EnhancementTable | None
    version: str


class Shelf:
    """The library as the server sees it: what was read stays in memory, and is looked at again each FRESH_S."""

    def __init__(self, library: Library, clock: Clock, *, cache_bytes_max: int, cache_file_bytes_max: int) -> None:
        self._library = library
        self._clock = clock
        self._file_bytes_max = cache_file_bytes_max
        self._bodies: Cache[tuple[Path, str], bytes] = Cache(cache_bytes_max)
        self._descriptors: Cache[tuple[Path, str], Descriptor] = Cache(DESCRIPTORS_MAX)
        self._settled: Cache[tuple[str, str], tuple[str, MediaFile]] = Cache(FILES_MAX)
        self._files: Cache[tuple[str, str], tuple[float, MediaFile]] = Cache(FILES_MAX)
        self._titles: Cache[str, tuple[float, LoadedTitle]] = Cache(TITLES_MAX)

    async def titles(self) -> list[LoadedTitle]:
        """All complete titles, by id. One that cannot be read is left out, and said in the log."""
        found = []
        for name in await asyncio.to_thread(self._library.titles):
            try:
                found.append(await self.title(name))
            except (ToprungError, RequestError) as error:
                log.warning("title %s is left out: %s", name, error)
        return found

    async def title(self, title_id: str) -> LoadedTitle:
        """Raises RequestError 404 when there is no such title."""
        known = self._titles.get(title_id)
        if known and abs(self._clock() - known[0]) < FRESH_S:
            return known[1]
        try:
            loaded = await asyncio.to_thread(self._load, title_id, known[1] if known else None)
        except UnknownNameError as error:
            self._titles.drop(title_id)
            raise RequestError(404, str(error)) from error
        self._titles.put(title_id, (self._clock(), loaded))
        return loaded

    async def file(self, title_id: str, relative: str) -> MediaFile:
        """Raises RequestError 404 for everything that is not a regular file inside the title's folder."""
        known = self._files.get((title_id, relative))
        if known and abs(self._clock() - known[0]) < FRESH_S:
            return known[1]
        try:
            found = await asyncio.to_thread(self._find, title_id, relative)
        except (UnknownNameError, OSError) as error:
            self._files.drop((title_id, relative))
            raise RequestError(404, f"There is no file {relative[:200]!r} in title {title_id[:64]!r}.") from error
        self._files.put((title_id, relative), (self._clock(), found))
        return found

    async def settled(self, title_id: str, relative: str) -> MediaFile:
        """As `file`, for media: segments and weights are looked at again only when their title has changed."""
        loaded = await self.title(title_id)
        key = (title_id, relative)
        known = self._settled.get(key)
        if known is not None and known[0] == loaded.version:
            return known[1]
        found = await self.file(title_id, relative)
        headers = _headers(found, Outcome(200, 0, found.size_bytes))
        del headers["Cache-Control"]
        found = replace(found, head="".join(f"\r\n{name}: {value}" for name, value in headers.items()))
        self._settled.put(key, (loaded.version, found))
        return found

    def at_hand(self, file: MediaFile) -> bytes | Descriptor | None:
        """The bytes of a small file, or an open larger one, when they are here already."""
        key = (file.path, file.validators.etag)
        if file.size_bytes <= self._file_bytes_max:
            return self._bodies.get(key)
        return self._descriptors.get(key)

    async def fetch(self, file: MediaFile) -> bytes | Descriptor:
        """The same, from the disk. Raises RequestError 503 when it is no longer what it was."""
        body = await self.body(file)
        if body is not None:
            return body
        opened = await asyncio.to_thread(_describe, file)
        self._descriptors.put((file.path, file.validators.etag), opened)
        return opened

    async def body(self, file: MediaFile) -> bytes | None:
        """The whole file from memory, or None when it is too large for that."""
        if file.size_bytes > self._file_bytes_max:
            return None
        key = (file.path, file.validators.etag)
        body = self._bodies.get(key)
        if body is None:
            body = await asyncio.to_thread(_read, file)
            self._bodies.put(key, body, len(body))
        return body

    async def packed(self, file: MediaFile) -> tuple[MediaFile, bytes] | None:
        """The gzip form of a file, a representation with a tag of its own; None when it is too large for memory."""
        validators = replace(file.validators, etag=f"{file.validators.etag}-gzip")
        packed = replace(file, encoding="gzip", validators=validators)
        body = await self.body(packed)
        return None if body is None else (replace(packed, size_bytes=len(body)), body)

    def _load(self, title_id: str, known: LoadedTitle | None) -> LoadedTitle:
        version = "|".join(self._etag(title_id, name) for name in (TITLE_FILE, ENHANCEMENTS_FILE))
        if known and known.version == version:
            return known
        title, table = self._library.title(title_id), self._library.enhancements(title_id)
        return LoadedTitle(title=title, table=table, version=version)

    def _etag(self, title_id: str, name: str) -> str:
        try:
            return _validators(self._library.path(title_id, name).stat()).etag
        except UnknownNameError:
            if name == TITLE_FILE:
                raise
            return ""

    def _find(self, title_id: str, relative: str) -> MediaFile:
        path = self._library.path(title_id, relative)
        status = path.stat()
        folder = relative.partition("/")[0]
        return MediaFile(
            path=path,
            size_bytes=status.st_size,
            validators=_validators(status),
            content_type=_content_type(relative),
            cache_control=IMMUTABLE if folder in _IMMUTABLE_FOLDERS else BRIEF,
        )


def _read(file: MediaFile) -> bytes:
    with _open(file) as handle:
        body = handle.read()
    return gzip.compress(body, mtime=0) if file.encoding else body


def _describe(file: MediaFile) -> Descriptor:
    with _open(file) as handle:
        return Descriptor(os.dup(handle.fileno()))


def _open(file: MediaFile) -> BinaryIO:
    """The file, when it is still what it was. Raises RequestError 503."""
    try:
        handle = file.path.open("rb")
    except OSError as error:
        raise RequestError(503, _REPLACED, {"Retry-After": "1"}) from error
    if os.fstat(handle.fileno()).st_size != file.size_bytes:
        handle.close()
        raise RequestError(503, _REPLACED, {"Retry-After": "1"})
    return handle


_REPLACED = "The file is being replaced; try again."


def _validators(status: os.stat_result) -> Validators:
    """Strong, since files of a title are replaced whole, never written to; the same on servers that share a copy."""
    return Validators(f"{status.st_mtime_ns:x}-{status.st_size:x}", int(status.st_mtime))


def _content_type(relative: str) -> str:
    if relative.startswith("audio/"):
        return _AUDIO_TYPE
    return _TYPES.get(Path(relative).suffix, "application/octet-stream")


async def send(
    request: web.Request, shelf: Shelf, file: MediaFile, *, headers: Mapping[str, str], patience_s: float
) -> web.StreamResponse:
    """Answer GET or HEAD with a file, or a part of it, to the last byte. `headers` are added, or override.

    Whole text files are packed for who takes gzip.
    """
    body: bytes | None = None
    if file.is_text and takes_gzip(request.headers):
        file, body = await shelf.packed(file) or (file, None)
    outcome = evaluate(request.headers, file.validators, file.size_bytes)
    if outcome.status in _REFUSALS:
        whole = {"Content-Range": f"bytes */{file.size_bytes}"} if outcome.status == 416 else {}
        raise RequestError(outcome.status, _REFUSALS[outcome.status], {**headers, **whole})
    named = _headers(file, outcome) | {**headers}
    if outcome.status == 304 or request.method == "HEAD" or outcome.count == 0:
        return await _finish(request, web.StreamResponse(status=outcome.status, headers=named))
    async with _patience(patience_s + outcome.count / SLOWEST_BYTES_PER_S):
        body = body if body is not None else await shelf.body(file)
        if body is not None:
            part = body[outcome.offset : outcome.offset + outcome.count]
            return await _finish(request, web.Response(status=outcome.status, headers=named, body=part))
        return await _send_file(request, web.StreamResponse(status=outcome.status, headers=named), file, outcome)


def sent_body_bytes(request: web.Request, response: web.StreamResponse) -> int:
    """Body bytes of an answer that was sent whole (aiohttp's own count has the headers in it, and not sendfile's)."""
    return 0 if request.method == "HEAD" else response.content_length or 0


_REFUSALS = {
    412: "The file is another version than the one the request is conditional on.",
    416: "The range asked for lies behind the end of the file.",
}


def _headers(file: MediaFile, outcome: Outcome) -> dict[str, str]:
    headers = {
        "ETag": f'"{file.validators.etag}"',
        "Last-Modified": file.validators.last_modified,
        "Cache-Control": file.cache_control,
        "Accept-Ranges": "bytes",
    }
    if file.is_text:
        headers["Vary"] = "Accept-Encoding"
    if file.encoding:
        headers["Content-Encoding"] = file.encoding
    if outcome.status == 304:
        return headers
    if outcome.status == 206:
        end = outcome.offset + outcome.count - 1
        headers["Content-Range"] = f"bytes {outcome.offset}-{end}/{file.size_bytes}"
    return headers | {"Content-Type": file.content_type, "Content-Length": str(outcome.count)}


async def _finish(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Waits until the kernel takes the bytes: else a viewer who asks and never reads would fill our memory."""
    writer = await response.prepare(request)
    await response.write_eof()
    if writer is not None:
        await writer.drain()
    if request.transport is None:  # aiohttp ends the wait without a word
        raise ConnectionResetError("the viewer went away")
    return response


async def _send_file(
    request: web.Request, response: web.StreamResponse, file: MediaFile, outcome: Outcome
) -> web.StreamResponse:
    with await asyncio.to_thread(_open, file) as handle:
        await response.prepare(request)
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the viewer went away")
        loop = asyncio.get_running_loop()
        sent = await loop.sendfile(request.transport, handle, outcome.offset, outcome.count)
        if sent != outcome.count:
            raise ConnectionResetError(f"{file.path} ended after {sent} of {outcome.count} bytes")
        await response.write_eof()
    return response


@asynccontextmanager
async def _patience(limit_s: float) -> AsyncIterator[None]:
    """Hangs up on a viewer who takes no bytes, so that the connection is not held for ever."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise ConnectionResetError(f"the viewer took more than {limit_s:.0f} s") from error

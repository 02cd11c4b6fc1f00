"""One file of a title as HTTP sends it: what its headers say, and its bytes."""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from server.errors import RequestError
from server.media.conditional_requests import Evaluation, Validators
from server.media.descriptor import OpenFile
from server.media.versions import lead_elsewhere, lead_to_version

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


class FileStatus(NamedTuple):
    """What a file keeps when the folder that it is in is renamed."""

    inode: int
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """One file of a title as it was when last looked at."""

    path: Path
    location: str
    """Its path below the library."""

    status: FileStatus
    """What it is on the disk."""

    size_bytes: int
    validators: Validators
    content_type: str
    cache_control: str
    encoding: str = ""
    """`gzip`, or nothing: size_bytes and validators are those of the encoded form."""

    led_to: str = ""
    """For a manifest, the version that it is made to lead to: size_bytes and validators are those of the made form."""

    moved_urls: tuple[str, str] | None = None
    """For a session's manifest: what URLs of the title's files begin with in it, and what they are made to begin with.
    The folder was renamed by hand, or a CDN sends them."""

    moved: Path | None = None
    """Where it is once its title has been replaced."""

    head: str = ""
    """The header lines that say all of this but for Cache-Control, each after its line end, for the whole file."""

    @property
    def is_text(self) -> bool:
        """Whether it is worth packing."""
        return self.path.suffix in _TEXT_SUFFIXES


def find_media_file(path: Path, folder: str, relative: str, cache_control: str) -> MediaFile:
    """The file as it is now. folder: the title's below the library. Raises OSError when it is not there."""
    status = path.stat()
    return MediaFile(
        path=path,
        status=status_of(status),
        location=f"{folder}/{relative}",
        size_bytes=status.st_size,
        validators=validators_of(status),
        content_type=content_type_of(relative),
        cache_control=cache_control,
    )


def lead(file: MediaFile, version: str) -> MediaFile:
    """A manifest of the title as it is now, which leads to that version of its media."""
    body = read(replace(file, led_to=version))
    validators = replace(file.validators, etag=f"{file.validators.etag}-{version}")
    return replace(file, led_to=version, size_bytes=len(body), validators=validators)


def move_urls(file: MediaFile, before: str, after: str) -> MediaFile:
    """A session's manifest that leads to the title's files at `after`, which are at `before` in it."""
    moved = replace(file, moved_urls=(before, after))
    validators = replace(file.validators, etag=f"{file.validators.etag}-{zlib.crc32(after.encode()):08x}")
    return replace(moved, size_bytes=len(read(moved)), validators=validators)


def read(file: MediaFile) -> bytes:
    """The whole of it, in the form that is sent. Raises RequestError 503 when it is no longer what it was."""
    with _open(file) as handle:
        body = handle.read()
    if file.led_to:
        body = lead_to_version(file.path.name, body, file.led_to)
    if file.moved_urls:
        body = lead_elsewhere(body, *file.moved_urls)
    return gzip.compress(body, mtime=0) if file.encoding else body


def describe(file: MediaFile) -> OpenFile:
    """The file, opened and read ahead by the system, so that sending it need not wait. Raises as `read` does."""
    try:
        with _open(file) as handle:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
                os.pread(handle.fileno(), 1, max(0, file.size_bytes - 1))  # waits until the end is there
            return OpenFile(os.dup(handle.fileno()))
    except OSError as error:
        raise RequestError(503, _UNREADABLE, {"Retry-After": "1"}) from error


def _open(file: MediaFile) -> BinaryIO:
    """The file, when it is still what it was. Raises RequestError 503."""
    for path in filter(None, (file.path, file.moved)):
        try:
            handle = path.open("rb")
        except FileNotFoundError:
            continue
        except OSError as error:
            log.error("cannot open %s: %s", path, error.strerror)
            raise RequestError(503, _UNREADABLE, {"Retry-After": "1"}) from error
        if status_of(os.fstat(handle.fileno())) == file.status:
            return handle
        handle.close()
    raise RequestError(503, REPLACED, {"Retry-After": "1"})


def is_in_place(file: MediaFile) -> bool:
    """Whether the file is still at its path."""
    try:
        return status_of(file.path.stat()) == file.status
    except OSError:
        return False


def status_of(status: os.stat_result) -> FileStatus:
    """What is compared."""
    return FileStatus(status.st_ino, status.st_size, status.st_mtime_ns)


REPLACED = "The file is being replaced; try again."
_UNREADABLE = "The file cannot be read right now; try again."


def validators_of(status: os.stat_result) -> Validators:
    """Strong, since files of a title are replaced whole, never written to; the same on servers that share a copy."""
    return Validators(f"{status.st_mtime_ns:x}-{status.st_size:x}", int(status.st_mtime))


def content_type_of(relative: str) -> str:
    """The media type of a file, by its path in the title folder."""
    if relative.startswith("audio/"):
        return _AUDIO_TYPE
    return _TYPES.get(Path(relative).suffix, "application/octet-stream")


def headers_of(file: MediaFile, outcome: Evaluation) -> dict[str, str]:
    """The headers of an answer with the file, or with what `outcome` says of it."""
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

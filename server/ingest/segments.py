"""CMAF segments: what FFmpeg's mp4 muxer writes, cut into an init segment and one media segment per fragment.

Media segments leave here as bytes and are written by Python, so that a full disk is an error where it happens.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from abr.errors import StorageError

INIT_FILE = "init.mp4"
_STYP = struct.pack(">I4s4sI4s4s", 24, b"styp", b"msdh", 0, b"msdh", b"cmfs")
"""Segment type box: ISO/IEC 14496-12, 8.16.2, with the DASH and CMAF media segment brands."""
FRAGMENTED = "+cmaf+empty_moov+default_base_moof+skip_trailer+skip_sidx"


class Cutter:
    """A file for PyAV to write fragmented MP4 to. `init` is there after the first segment; `take` gives segments."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.init = b""

    def write(self, data: bytes) -> int:
        self._pending += data
        return len(data)

    def take(self) -> Iterator[bytes]:
        """Media segments that have become complete, each once."""
        while (end := self._end_of(b"mdat")) is not None:
            part = bytes(self._pending[:end])
            del self._pending[:end]
            if not self.init:
                header = part.index(b"moof") - 4
                self.init, part = part[:header], part[header:]
            yield _STYP + part

    def _end_of(self, wanted: bytes) -> int | None:
        offset = 0
        while offset + 8 <= len(self._pending):
            size, kind = struct.unpack_from(">I4s", self._pending, offset)
            offset += size
            if kind == wanted:
                return offset if offset <= len(self._pending) else None
        return None


def write_file(path: Path, data: bytes) -> None:
    """Write a new file; StorageError when the disk refuses."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {os.strerror(error.errno or 0)}; free some space.") from error

"""CMAF: what FFmpeg's mp4 muxer writes, cut into an init segment and chunks (ISO/IEC 23000-19, 7.3.2.3).

A chunk is a fragment: a moof and its mdat. A media segment is one of them or several. Both are written by Python, so
that a full disk raises at once.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator

from abr.core.title import INIT_FILE, part_file, segment_file
from abr.media.video_codecs import VideoCodec

Write = Callable[[str, bytes], None]
"""Takes a file name and its whole content; nothing for a segment that is left out."""

_STYP = struct.pack(">I4s4sI4s4s", 24, b"styp", b"msdh", 0, b"msdh", b"cmfs")
"""Segment type box: ISO/IEC 14496-12, 8.16.2, with the DASH and CMAF media segment brands."""
FRAGMENTED = "+cmaf+empty_moov+default_base_moof+skip_trailer+skip_sidx"


def standalone_init_file(codec: VideoCodec) -> str:
    """The init segment of standard manifests. Of a codec that knows one kind of track it is that of sessions."""
    return INIT_FILE if codec.standalone_entry == codec.in_band_entry else f"init-{codec.standalone_entry}.mp4"


def as_standalone(init: bytes, codec: VideoCodec) -> bytes:
    """An init segment whose track brings its parameter sets in band as one that holds them, of the same length.

    Both kinds of sample entry hold the same record (ISO/IEC 14496-15, 5.4.2 and 8.4.1), and our muxer writes the
    parameter sets there as well as in band. It fits the segments of its own rung only.
    """
    entry = codec.in_band_entry.encode()
    at = init.index(entry, init.index(b"stsd"))
    return init[:at] + codec.standalone_entry.encode() + init[at + len(entry) :]


class CmafCutter:
    """A file for PyAV to write fragmented MP4 to. `init` is there after the first chunk; `take` gives chunks."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.init = b""

    def write(self, data: bytes) -> int:
        """Take in what the muxer writes; as files do, tells how much."""
        self._pending += data
        return len(data)

    def take(self) -> Iterator[bytes]:
        """The chunks completed since the last call."""
        while (end := self._end_of(b"mdat")) is not None:
            part = bytes(self._pending[:end])
            del self._pending[:end]
            if not self.init:
                header = part.index(b"moof") - 4
                self.init, part = part[:header], part[header:]
            yield part

    def _end_of(self, wanted: bytes) -> int | None:
        offset = 0
        while offset + 8 <= len(self._pending):
            size, kind = struct.unpack_from(">I4s", self._pending, offset)
            offset += size
            if kind == wanted:
                return offset if offset <= len(self._pending) else None
        return None


class SegmentWriter:
    """Puts the chunks of one track together to segments.

    in_parts: write each chunk as a part too, as soon as it is there. The parts of a segment, one after the other, are
    the segment to the byte. first: the number of the first segment (0-based).
    """

    def __init__(self, write: Write, *, in_parts: bool, first: int = 0) -> None:
        self.sizes = array("Q", [0] * first)
        """Bytes of the segments written so far; 0 of those before the first."""
        self._write, self._in_parts = write, in_parts
        self._parts: list[bytes] = []

    def add(self, chunk: bytes, *, closes: bool) -> None:
        """Take the next chunk. closes: the segment ends with it."""
        part = chunk if self._parts else _STYP + chunk
        if self._in_parts:
            self._write(part_file(len(self.sizes), len(self._parts)), part)
        self._parts.append(part)
        if closes:
            self.close()

    def leave_out(self) -> None:
        """The next segment is not made: whoever writes is given nothing of it."""
        self._write(segment_file(len(self.sizes)), b"")
        self.sizes.append(0)

    def close(self) -> None:
        """The segment ends with what there is of it, if there is any."""
        if self._parts:
            body = b"".join(self._parts)
            self._write(segment_file(len(self.sizes)), body)
            self.sizes.append(len(body))
            self._parts.clear()

"""Segments of a live title that are under way: what there is of them lies beside the whole ones, and grows by chunks.

A growing file is never served as a file: its name begins with a dot. Its whole chunks are parts, which have URLs of
their own, and can be read from the whole segment just as well. A segment appears under its own name by one rename.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FOLDER = r"(?:(?:video|audio)/[A-Za-z0-9][A-Za-z0-9._-]{0,63}/)?"
_PART = re.compile(rf"({_FOLDER}seg-([0-9]{{5,8}}))\.([1-9][0-9]{{0,3}})\.m4s", re.ASCII)
_SEGMENT = re.compile(rf"{_FOLDER}seg-([0-9]{{5,8}})\.m4s", re.ASCII)
_MDAT, _HEAD_BYTES = b"mdat", 8


def growing_file(segment: Path) -> Path:
    """Where the segment grows that will be at `segment`."""
    return segment.with_name(f".{segment.name}.growing")


def split_part(relative: str) -> tuple[str, int, int] | None:
    """The path of a part → that of its segment, and the 0-based numbers of both; None for any other path."""
    found = _PART.fullmatch(relative)
    return (f"{found[1]}.m4s", int(found[2]) - 1, int(found[3]) - 1) if found else None


def segment_number(relative: str) -> int | None:
    """The 0-based number of the segment that a path names; None for any other path."""
    found = _SEGMENT.fullmatch(relative)
    return int(found[1]) - 1 if found else None


def read_part(segment: Path, part: int) -> bytes | None:
    """Part `part` (0-based) of a segment, whole or under way; None when the segment has fewer.

    Blocks. Raises FileNotFoundError when there is nothing of the segment.
    """
    try:
        file = segment.open("rb")
    except FileNotFoundError:
        try:
            file = growing_file(segment).open("rb")
        except FileNotFoundError:
            file = segment.open("rb")  # it was completed between the two looks
    with file:
        for index, (begin, end) in enumerate(_spans(file)):
            if index == part:
                file.seek(begin)
                return file.read(end - begin)
    return None


def _spans(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where each whole chunk begins and ends: boxes up to an mdat (ISO/IEC 14496-12, 4.2). Our boxes have 32-bit sizes.

    What a write has not finished is not told.
    """
    size_bytes = file.seek(0, 2)
    begin = offset = 0
    while offset + _HEAD_BYTES <= size_bytes:
        file.seek(offset)
        box_bytes, kind = struct.unpack(">I4s", file.read(_HEAD_BYTES))
        offset += max(_HEAD_BYTES, box_bytes)
        if kind == _MDAT and offset <= size_bytes:
            yield begin, offset
            begin = offset

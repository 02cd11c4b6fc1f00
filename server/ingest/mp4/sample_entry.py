"""The sample entry of an init segment with one track, and the boxes in it (ISO/IEC 14496-12, 8.5.2), rewritten."""

from __future__ import annotations

import struct
from collections.abc import Callable

_WAY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
HEAD_BYTES = 8
_SAMPLE_DESCRIPTION_BYTES = 8
"""Version, flags and count of entries, before the first one."""
VISUAL_BYTES, AUDIO_BYTES = 78, 28
"""Of a VisualSampleEntry and of an AudioSampleEntry of version 0, before the boxes in it."""

Entry = tuple[bytes, list[bytes]]
"""Its four characters, and the boxes in it."""


def rewrite_entry(init: bytes, fields_bytes: int, rewrite: Callable[[bytes, list[bytes]], Entry]) -> bytes:
    """An init segment whose sample entry is what `rewrite` makes of it. fields_bytes: VISUAL_BYTES or AUDIO_BYTES.

    Raises ValueError for what is no init segment.
    """
    way, entry = _find_entry(init)
    (size,) = struct.unpack_from(">I", init, entry)
    boxes_from = entry + HEAD_BYTES + fields_bytes
    kind, boxes = rewrite(init[entry + 4 : entry + 8], boxes_of(init[boxes_from : entry + size]))
    inner = b"".join(boxes)
    grown = boxes_from + len(inner) - (entry + size)
    made = bytearray(init[:boxes_from] + inner + init[entry + size :])
    made[entry + 4 : entry + 8] = kind
    for at in (*way, entry):
        (before,) = struct.unpack_from(">I", made, at)
        struct.pack_into(">I", made, at, before + grown)
    return bytes(made)


def entry_boxes(init: bytes, fields_bytes: int) -> list[bytes]:
    """The boxes in the sample entry of an init segment, as of `rewrite_entry`."""
    _, entry = _find_entry(init)
    (size,) = struct.unpack_from(">I", init, entry)
    return boxes_of(init[entry + HEAD_BYTES + fields_bytes : entry + size])


def box(kind: bytes, body: bytes) -> bytes:
    """A box of that kind."""
    return struct.pack(">I4s", HEAD_BYTES + len(body), kind) + body


def boxes_of(data: bytes) -> list[bytes]:
    """The boxes that follow each other in `data`."""
    found, at = [], 0
    while at + HEAD_BYTES <= len(data):
        size = max(HEAD_BYTES, int.from_bytes(data[at : at + 4], "big"))
        found.append(data[at : at + size])
        at += size
    return found


def _find_entry(init: bytes) -> tuple[list[int], int]:
    """Where the boxes around the first sample entry begin, and where it does. Raises ValueError without one."""
    way, begin, end = [], 0, len(init)
    for kind in _WAY:
        at = begin
        while init[at + 4 : at + 8] != kind:
            (size,) = struct.unpack_from(">I", init, at)
            at += max(size, HEAD_BYTES)
            if at >= end:
                raise ValueError(f"There is no {kind.decode()} box in this init segment.")
        (size,) = struct.unpack_from(">I", init, at)
        way.append(at)
        begin, end = at + HEAD_BYTES, at + size
    return way, begin + _SAMPLE_DESCRIPTION_BYTES

"""Init segments of protected tracks: ours, with what the packager says of the encryption."""

from __future__ import annotations

import struct

from server.ingest.mp4.sample_entry import (
    AUDIO_BYTES,
    HEAD_BYTES,
    VISUAL_BYTES,
    Entry,
    box,
    boxes_of,
    entry_boxes,
    rewrite_entry,
)
from server.protection.packager import Kind

_PROTECTED = {"video": b"encv", "audio": b"enca"}
_FIELDS_BYTES = {"video": VISUAL_BYTES, "audio": AUDIO_BYTES}


def as_protected(init: bytes, kind: Kind, packaged: bytes) -> bytes:
    """`init`, of clear samples, for encrypted ones (ISO/IEC 23001-7, 4.2; 14496-12, 8.12).

    packaged: the packager's init segment. Its `sinf` and `pssh` are taken over, and nothing else: parameter sets,
    colours and the length of the track stay as they were.
    """
    (scheme,) = (each for each in entry_boxes(packaged, _FIELDS_BYTES[kind]) if each[4:8] == b"sinf")

    def protect(entry: bytes, boxes: list[bytes]) -> Entry:
        told = [box(b"frma", entry) if each[4:8] == b"frma" else each for each in boxes_of(scheme[HEAD_BYTES:])]
        return _PROTECTED[kind], [*boxes, box(b"sinf", b"".join(told))]

    return _with_system_boxes(rewrite_entry(init, _FIELDS_BYTES[kind], protect), packaged)


def _with_system_boxes(init: bytes, packaged: bytes) -> bytes:
    (movie,) = (each for each in boxes_of(packaged) if each[4:8] == b"moov")
    systems = b"".join(each for each in boxes_of(movie[HEAD_BYTES:]) if each[4:8] == b"pssh")
    made = [
        struct.pack(">I", len(each) + len(systems)) + each[4:] + systems if each[4:8] == b"moov" else each
        for each in boxes_of(init)
    ]
    return b"".join(made)

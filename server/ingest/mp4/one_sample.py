"""Segments of one sample each: written, and what they are made of found in longer ones (ISO/IEC 14496-12, 8.8)."""

from __future__ import annotations

import struct

from server.ingest.mp4.sample_entry import HEAD_BYTES, box, boxes_of

_OFFSET, _FIRST_FLAGS, _DURATION, _SIZE = 0x1, 0x4, 0x100, 0x200
"""Of a run of samples: what is told of it, and of each."""
_BASE, _INDEX, _DEFAULT_DURATION, _DEFAULT_SIZE = 0x1, 0x2, 0x8, 0x10
"""Of a fragment of a track: what is told of all its samples."""
_DEFAULT_BASE = 0x20000


def one_sample_segment(number: int, start: int, lasts: int, sample: bytes) -> bytes:
    """number: from 1. start, lasts: in ticks of the track."""

    def fragment(offset: int) -> bytes:
        run = box(b"trun", struct.pack(">IIiII", _OFFSET | _DURATION | _SIZE, 1, offset, lasts, len(sample)))
        place = box(b"tfhd", struct.pack(">II", _DEFAULT_BASE, 1)) + box(b"tfdt", struct.pack(">IQ", 1 << 24, start))
        return box(b"moof", box(b"mfhd", struct.pack(">II", 0, number)) + box(b"traf", place + run))

    offset = len(fragment(0)) + HEAD_BYTES
    return box(b"styp", b"msdh" + struct.pack(">I", 0) + b"msdhcmfs") + fragment(offset) + box(b"mdat", sample)


def first_sample(segment: bytes) -> bytes:
    """The first sample of a segment of one track, of our own muxer's. Raises ValueError for another."""
    begins = 0
    for each in boxes_of(segment):
        if each[4:8] == b"moof":
            break
        begins += len(each)
    else:
        raise ValueError("This segment has no fragment.")
    (fragment,) = (inner for inner in boxes_of(each[HEAD_BYTES:]) if inner[4:8] == b"traf")
    told = {inner[4:8]: inner[HEAD_BYTES:] for inner in reversed(boxes_of(fragment[HEAD_BYTES:]))}
    offset, size = _first_in_run(told[b"trun"], _default_size(told[b"tfhd"]))
    sample = segment[begins + offset : begins + offset + size]
    if not size or len(sample) != size:
        raise ValueError("This segment does not hold its first sample.")
    return sample


def _default_size(head: bytes) -> int:
    (flags,) = struct.unpack_from(">I", head)
    if not flags & _DEFAULT_SIZE:
        return 0
    before = 8 + 8 * bool(flags & _BASE) + 4 * bool(flags & _INDEX) + 4 * bool(flags & _DEFAULT_DURATION)
    return int(struct.unpack_from(">I", head, before)[0])


def _first_in_run(run: bytes, size: int) -> tuple[int, int]:
    """Where its first sample lies behind the fragment's beginning, and its bytes."""
    flags, _, offset = struct.unpack_from(">IIi", run)
    if not flags & _OFFSET:
        raise ValueError("This run of samples does not say where it lies.")
    before = 12 + 4 * bool(flags & _FIRST_FLAGS) + 4 * bool(flags & _DURATION)
    return offset, int(struct.unpack_from(">I", run, before)[0]) if flags & _SIZE else size

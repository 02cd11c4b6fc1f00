"""Cutting what the muxer writes: the same segments however the bytes arrive."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.core.title import part_file, segment_file
from abr.errors import StorageError
from abr.files import write_file
from server.ingest.mp4.cmaf import CmafCutter, SegmentWriter


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


BODIES = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=200)), min_size=1, max_size=6)


@given(BODIES, st.lists(st.integers(1, 50), min_size=1))
def test_segments_do_not_depend_on_how_bytes_arrive(bodies: list[tuple[bytes, bytes]], steps: list[int]) -> None:
    header = box(b"ftyp", b"cmfc") + box(b"moov", b"m" * 30)
    fragments = [box(b"moof", moof) + box(b"mdat", mdat) for moof, mdat in bodies]
    stream = header + b"".join(fragments)
    cutter, taken, offset, turn = CmafCutter(), [], 0, 0
    while offset < len(stream):
        step = steps[turn % len(steps)]
        cutter.write(stream[offset : offset + step])
        taken += cutter.take()
        offset, turn = offset + step, turn + 1
    assert cutter.init == header
    assert taken == fragments


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12), st.integers(1, 5))
def test_the_parts_of_a_segment_are_the_segment(chunks: list[bytes], each: int) -> None:
    files: dict[str, bytes] = {}
    writer = SegmentWriter(files.__setitem__, in_parts=True)
    for index, chunk in enumerate(chunks):
        writer.add(chunk, closes=index % each == each - 1)
    writer.close()
    assert list(writer.sizes) == [len(files[segment_file(index)]) for index in range(-(-len(chunks) // each))]
    for index in range(len(writer.sizes)):
        parts = [files[part_file(index, part)] for part in range(min(each, len(chunks) - each * index))]
        assert b"".join(parts) == files[segment_file(index)]
        assert parts[0][4:12] == b"stypmsdh" and parts[0][24:] == chunks[each * index]


def test_a_full_disk_says_so() -> None:
    with pytest.raises(StorageError, match="No space left on device"):
        write_file(Path("/dev/full"), b"x")

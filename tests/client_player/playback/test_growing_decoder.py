"""Segments that come in parts are decoded to the same pictures as whole ones, each part by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from broadcast import CHUNK_FRAMES, CHUNKS, SEGMENT_FRAMES, encoded

from abr.core.title import segment_file
from client_player.decoder import GrowingDecoder, SegmentDecoder
from server.live_edge.growing import read_part

SEGMENT = 5


@pytest.fixture(scope="module")
def folder() -> Path:
    return encoded() / "video" / "108p"


@pytest.fixture(scope="module")
def init(folder: Path) -> bytes:
    return (folder / "init.mp4").read_bytes()


def parts(folder: Path) -> list[bytes]:
    found = [read_part(folder / segment_file(SEGMENT), part) for part in range(CHUNKS)]
    return [part for part in found if part is not None]


def test_each_part_gives_its_pictures_before_the_next_one_is_there(folder: Path, init: bytes):
    whole = SegmentDecoder(init + (folder / segment_file(SEGMENT)).read_bytes())
    growing = GrowingDecoder()
    lengths = [CHUNK_FRAMES, SEGMENT_FRAMES - CHUNK_FRAMES]
    for part, count in zip(parts(folder), lengths, strict=True):
        growing.feed(init + part)
        for _ in range(count):
            frame, expected = growing.next_frame(), whole.next_frame()
            assert frame is not None and expected is not None
            assert all(map(np.array_equal, frame.planes(), expected.planes()))
    assert growing.failure == ""


@pytest.mark.parametrize("damage", [b"", b"no boxes at all"])
def test_after_damage_there_are_no_more_pictures_and_it_says_why(folder: Path, init: bytes, damage: bytes):
    growing = GrowingDecoder()
    growing.feed(init + parts(folder)[0])
    assert growing.next_frame() is not None
    growing.feed(damage)
    assert growing.next_frame() is None and growing.failure
    growing.feed(init + parts(folder)[1])
    assert growing.next_frame() is None, "what refers to pictures that are lost is not shown"

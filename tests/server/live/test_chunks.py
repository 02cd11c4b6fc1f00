"""Segments as the encoders of a stream write them: whole files that consist of chunks, decoded by another FFmpeg."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from broadcast import CHUNK_FRAMES, CHUNKS, SEGMENT_FRAMES, SEGMENTS, encoded
from oracle import decode

from abr.core.title import segment_file
from server.ingest.encode_settings import Cuts, chunk_length
from server.live_edge.growing import read_part

FRAME_S, AAC_FRAME_S = Fraction(1, 25), Fraction(1024, 48000)


@pytest.fixture(scope="module")
def cam() -> Path:
    return encoded()


def parts_of(folder: Path, segment: int) -> list[bytes]:
    parts = []
    while (part := read_part(folder / segment_file(segment), len(parts))) is not None:
        parts.append(part)
    return parts


@pytest.mark.parametrize("rendition", ["64p", "108p"])
def test_what_has_come_of_a_segment_decodes_to_its_frames_and_no_others(cam: Path, rendition: str):
    folder = cam / "video" / rendition
    init = (folder / "init-avc1.mp4").read_bytes()
    first, second = parts_of(folder, 5)
    for body, count in ((first, CHUNK_FRAMES), (first + second, SEGMENT_FRAMES)):
        decoded = decode(init + body)
        assert decoded.warnings == ""
        assert decoded.times == [(5 * SEGMENT_FRAMES + index) * FRAME_S for index in range(count)]


@pytest.mark.parametrize("part", ["video/64p", "video/108p", "audio/audio"])
def test_a_segment_is_its_chunks_and_each_is_a_fragment_of_its_own(cam: Path, part: str):
    for segment in range(SEGMENTS):
        parts = parts_of(cam / part, segment)
        assert len(parts) == CHUNKS and [each.count(b"moof") for each in parts] == [1] * CHUNKS
        assert b"".join(parts) == (cam / part / segment_file(segment)).read_bytes()
        assert parts[0][4:8] == b"styp" and parts[1][4:8] == b"moof"


def test_chunks_of_sound_end_with_those_of_the_pictures(cam: Path):
    folder = cam / "audio" / "audio"
    init = (folder / "init.mp4").read_bytes()
    for segment, end_s in ((0, CHUNK_FRAMES * FRAME_S), (7, 7 + CHUNK_FRAMES * FRAME_S)):
        sound = decode(init + parts_of(folder, segment)[0], kind="a:0")
        assert sound.warnings == "" and abs(sound.end_s - end_s) <= AAC_FRAME_S


@pytest.mark.parametrize(
    ("frames", "rate", "chunk_s", "expected"),
    [(50, 25, 0.5, [13, 26, 39, 50]), (60, 30, 0.5, [15, 30, 45, 60]), (50, 25, 0, [50]), (25, 25, 5, [25])],
)
def test_chunks_of_a_segment_are_as_long_as_its_first(frames: int, rate: int, chunk_s: float, expected: list[int]):
    length = chunk_length(frames, Fraction(rate), chunk_s)
    assert Cuts(Fraction(rate), frames, length).chunk_ends(frames) == expected

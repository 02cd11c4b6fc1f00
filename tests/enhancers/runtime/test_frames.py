"""Decoding segments, some of them hostile."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from titles import CLIP, prepared_title

from abr.errors import MediaError
from enhancers.runtime.frames import decode_file, decode_segment, frame_of


def _segment(rendition: str, number: int) -> bytes:
    _, folder = prepared_title()
    place = folder / "video" / rendition
    return (place / "init.mp4").read_bytes() + (place / f"seg-{number:05d}.m4s").read_bytes()


def test_decodes_a_segment_in_display_order() -> None:
    title, _ = prepared_title()
    frames = list(decode_segment(_segment("180p", 2)))
    times_s = [frame.time_s for frame in frames]
    assert len(frames) == title.segment_frames[1]
    assert times_s == sorted(times_s)
    assert np.allclose(np.diff(times_s), 1 / title.fps)
    assert frames[0].y.shape == (180, 320)
    assert frames[0].u.shape == frames[0].v.shape == (90, 160)


def test_planes_outlive_the_decoder_and_cannot_be_written() -> None:
    frames = decode_segment(_segment("180p", 1))
    y = next(frames).y
    copy = y.copy()
    for _ in frames:
        pass
    assert np.array_equal(y, copy)
    with pytest.raises(ValueError, match="read-only"):
        y[0, 0] = 1


def test_a_frame_of_planes_holds_them() -> None:
    random = np.random.default_rng(0)
    y, u, v = (random.integers(0, 256, shape, dtype=np.uint8) for shape in ((37, 65), (19, 33), (19, 33)))
    frame = frame_of(y, u, v)
    assert all(np.array_equal(a, b) for a, b in zip(frame.planes(), (y, u, v), strict=True))
    with pytest.raises(ValueError, match="chroma"):
        frame_of(y, u[:-1], v)


@pytest.mark.parametrize(
    "data", [b"", b"not a video at all", b"\x00" * 4096, b"\x00\x00\x00\x18ftypmp42" + b"\xff" * 100], ids=len
)
def test_what_is_no_video_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError):
        list(decode_segment(data))


def test_sound_alone_is_refused() -> None:
    title, folder = prepared_title()
    place = folder / "audio" / title.audio[0].id
    with pytest.raises(MediaError, match="no video"):
        list(decode_segment((place / "init.mp4").read_bytes() + (place / "seg-00001.m4s").read_bytes()))


def test_a_missing_file_is_a_clear_error() -> None:
    with pytest.raises(MediaError, match="no-such-file"):
        list(decode_file(str(CLIP.with_name("no-such-file.mp4"))))


@pytest.mark.parametrize("name", ["http:film.mp4", "concat:a|b.mp4", "12:30.mp4"])
def test_a_name_with_a_colon_is_a_files_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(CLIP, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert next(decode_file(name)).y.shape == (720, 1280)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 60_000), place=st.integers(0, 60_000), noise=st.binary(min_size=1, max_size=64))
def test_damage_gives_frames_or_a_media_error(cut: int, place: int, noise: bytes) -> None:
    data = bytearray(_segment("180p", 1))
    place %= len(data)
    data[place : place + len(noise)] = noise
    try:
        frames = list(decode_segment(bytes(data[: max(1, len(data) - cut)])))
    except MediaError:
        return
    assert all(frame.y.shape == (180, 320) for frame in frames) or frames

"""A title lasts from the first to the last moment that its source's decoders and its edit list give."""

from __future__ import annotations

import struct
import subprocess
from itertools import islice
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from clips import make_clip

from abr.media.planes import luma_of
from abr.media.probe import probe
from abr.media.source_frames import display_frames
from abr.quality.vmaf import ffmpeg_program
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

FAST = EncodeSettings(preset="ultrafast", vmaf_every=30)
LONG_GOP = {"g": "100", "keyint_min": "100", "sc_threshold": "0"}


def ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_program(), "-v", "error", "-y", *arguments], check=True)


def lumas(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [luma_of(frame).copy() for frame in container.decode(video=0)]


def shown(path: Path) -> list[np.ndarray]:
    footage = msgspec.structs.replace(probe(path), matrix="bt709")  # untouched, so that pictures compare exactly
    return [luma_of(frame).copy() for frame in display_frames(path, footage)]


def write_edit(path: Path, from_s: float, for_s: float) -> None:
    """Write one edit over those of every track, as a phone's trim does."""
    data = bytearray(path.read_bytes())
    scales = [_timescale(data, at) for at in _positions(data, b"mdhd")]
    movie = _timescale(data, data.index(b"mvhd"))
    for at, scale in zip(_positions(data, b"elst"), scales, strict=True):
        struct.pack_into(">II", data, at + 12, round(for_s * movie), round(from_s * scale))
    path.write_bytes(data)


def _positions(data: bytes, kind: bytes) -> list[int]:
    found = [data.find(kind)]
    while found[-1] >= 0:
        found.append(data.find(kind, found[-1] + 1))
    return found[:-1]


def _timescale(data: bytes, at: int) -> int:
    (scale,) = struct.unpack_from(">I", data, at + 16)
    return int(scale)


def test_a_copy_cut_between_key_frames_begins_at_its_edit(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", frames=150, sound_s=6, options=LONG_GOP)
    trimmed = tmp_path / "trimmed.mp4"
    ffmpeg("-ss", "2.52", "-i", str(whole), "-c", "copy", str(trimmed))
    title = prepare_title(trimmed, Library(tmp_path / "library"), FAST).title
    assert title.duration_s == pytest.approx(3.48, abs=0.04)
    pictures = lumas(whole)
    assert [np.array_equal(a, b) for a, b in zip(shown(trimmed), pictures[63:], strict=False)] == [True] * 87


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize(("from_s", "for_s"), [(2.6, 1.6), (0.0, 2.0), (4.4, 1.6)])
def test_an_edit_list_says_what_is_shown(tmp_path: Path, bframes: int, from_s: float, for_s: float) -> None:
    whole = make_clip(tmp_path / "whole.mp4", frames=150, options=LONG_GOP | {"bf": str(bframes)})
    pictures = lumas(whole)
    delay_s = 0.08 if bframes else 0.0
    write_edit(whole, from_s + delay_s, for_s)
    first, count = round(from_s * 25), round(for_s * 25)
    title = prepare_title(whole, Library(tmp_path / "library"), FAST).title
    assert sum(title.segment_frames) == count
    assert [np.array_equal(a, b) for a, b in zip(shown(whole), pictures[first:], strict=False)] == [True] * count


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_recording_begun_between_key_frames_starts_at_its_first_picture(tmp_path: Path, codec: str) -> None:
    whole = make_clip(tmp_path / "whole.ts", frames=150, codec=codec, options={"g": "50", "bf": "0"})
    cut = tmp_path / "cut.ts"
    data = whole.read_bytes()
    cut.write_bytes(data[len(data) // 2 // 188 * 188 :])
    title = prepare_title(cut, Library(tmp_path / "library"), FAST).title
    assert sum(title.segment_frames) == 50
    assert np.array_equal(shown(cut)[0], lumas(whole)[100])


def test_pictures_move_at_once(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", frames=150, options=LONG_GOP)
    trimmed = tmp_path / "trimmed.mp4"
    ffmpeg("-ss", "2.52", "-i", str(whole), "-c", "copy", str(trimmed))
    first, second = islice(display_frames(trimmed, probe(trimmed)), 2)
    assert not np.array_equal(luma_of(first), luma_of(second))


def sound_of(folder: Path) -> np.ndarray:
    home = folder / "audio" / "audio"
    joined = folder.parent / "sound.mp4"
    joined.write_bytes(b"".join(f.read_bytes() for f in [home / "init.mp4", *sorted(home.glob("seg-*"))]))
    with av.open(joined) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("frames", [1, 30])
def test_sound_after_the_last_picture_is_heard_over_it(tmp_path: Path, suffix: str, frames: int) -> None:
    source = make_clip(tmp_path / f"still.{suffix}", frames=frames, sound_s=5)
    done = prepare_title(source, Library(tmp_path / "library"), FAST)
    assert done.title.duration_s == pytest.approx(5, abs=0.1)
    loud = np.flatnonzero(np.abs(sound_of(done.folder)) > 0.1) / 48000
    assert loud[-1] == pytest.approx(5, abs=0.1)
    pictures = shown(source)
    assert len(pictures) == sum(done.title.segment_frames)
    assert np.array_equal(pictures[-1], pictures[frames - 1])


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_sound_before_the_first_picture_is_heard_over_it(tmp_path: Path, suffix: str) -> None:
    ticks = [2000 + 40 * index for index in range(50)]
    source = make_clip(tmp_path / f"late.{suffix}", ticks=ticks, sound_s=4)
    done = prepare_title(source, Library(tmp_path / "library"), FAST)
    assert done.title.duration_s == pytest.approx(4, abs=0.1)
    loud = np.flatnonzero(np.abs(sound_of(done.folder)) > 0.1) / 48000
    assert loud[0] == pytest.approx(0, abs=0.05)
    pictures = shown(source)
    assert np.array_equal(pictures[0], pictures[49])
    assert not np.array_equal(pictures[0], pictures[-1])


def test_sound_of_pictures_that_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", frames=150, sound_s=6, options={"g": "50", "bf": "0"})
    stream, cut = tmp_path / "whole.ts", tmp_path / "cut.ts"
    ffmpeg("-i", str(whole), "-c", "copy", str(stream))
    data = stream.read_bytes()
    cut.write_bytes(data[len(data) // 2 // 188 * 188 :])
    title = prepare_title(cut, Library(tmp_path / "library"), FAST).title
    assert title.duration_s == pytest.approx(2, abs=0.1)
    assert not np.array_equal(shown(cut)[0], shown(cut)[1])


@pytest.mark.parametrize("suffix", ["ts", "mpg", "mp4", "avi", "flv"])
@pytest.mark.parametrize("from_s", [0.52, 3.0, 5.52])
def test_pictures_from_a_moment_on_need_no_key_frame_there(tmp_path: Path, suffix: str, from_s: float) -> None:
    source = make_clip(
        tmp_path / f"one-gop.{suffix}",
        frames=150,
        codec={"mpg": "mpeg2video", "avi": "mpeg4"}.get(suffix, "libx264"),
        options={"g": "300", "bf": "0"},
    )
    whole, footage = shown(source), msgspec.structs.replace(probe(source), matrix="bt709")
    some = [luma_of(frame).copy() for frame in islice(display_frames(source, footage, from_s=from_s), 10)]
    first = round(from_s * 25)
    assert [np.array_equal(a, b) for a, b in zip(some, whole[first:], strict=False)] == [True] * 10


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_a_stream_with_one_key_frame_becomes_a_title(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg2video" if suffix == "mpg" else "libx264"
    source = make_clip(tmp_path / f"one-gop.{suffix}", frames=150, codec=codec, options={"g": "300"})
    title = prepare_title(source, Library(tmp_path / "library"), FAST).title
    assert sum(title.segment_frames) == 150

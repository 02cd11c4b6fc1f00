"""Sources with quirks become titles that are exact; sources that are no video are refused in one sentence."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip
from oracle import decode
from titles import CLIP

from abr.core.title import Title
from abr.errors import InputError, MediaError
from abr.media.display_filters import check_filters
from abr.media.interlacing import InterlaceMeter
from abr.media.planes import luma_of
from abr.media.probe import probe
from abr.media.source_frames import display_frames, reference_frames
from abr.quality.vmaf import ffmpeg_program
from server.ingest.cli import prepare
from server.ingest.encode_settings import EncodeSettings
from server.ingest.encoders.encoder import CAP_WINDOW_S
from server.ingest.prepare import prepare_title
from server.media.library import Library

FAST = EncodeSettings(preset="ultrafast", vmaf_every=30)


def prepared(source: Path, recipe: EncodeSettings = FAST) -> tuple[Title, Path]:
    done = prepare_title(source, Library(source.parent / "library"), recipe, title_id="it")
    return done.title, done.folder


def video_times(folder: Path, rendition: str) -> list[Fraction]:
    home = folder / "video" / rendition
    decoded = decode(b"".join(f.read_bytes() for f in [home / "init.mp4", *sorted(home.glob("seg-*"))]))
    assert decoded.warnings == ""
    return decoded.times


def test_odd_size_without_sound(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "odd.mkv", width_px=203, height_px=121, codec="ffv1", pixel_format="yuv444p")
    title, folder = prepared(source)
    assert (title.display_width_px, title.display_height_px) == (202, 120)
    assert title.audio == ()
    assert "audio" not in (folder / "manifest.mpd").read_text()
    assert "AUDIO" not in (folder / "master.m3u8").read_text()
    assert video_times(folder, "120p") == [Fraction(n, 25) for n in range(60)]


def test_a_bare_stream_of_pictures_is_called_one(tmp_path: Path) -> None:
    source = tmp_path / "raw.264"
    source.write_bytes(
        ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=1"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-f", "h264", "-"),
        )
    )
    with pytest.raises(MediaError, match="a bare stream of pictures without times"):
        prepared(source)


def test_a_title_shorter_than_a_segment_is_no_worse_for_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (10, 108, 192, 3), dtype=np.uint8)
    source = make_clip(tmp_path / "short.mkv", frames=10, codec="ffv1", paint=lambda _w, _h, index: noise[index])
    rates_bps = []
    for segment_s in (0.5, 6):
        recipe = EncodeSettings(heights_px=(108,), preset="ultrafast", vmaf_every=30, segment_s=segment_s)
        title = prepare_title(source, Library(tmp_path / str(segment_s)), recipe).title
        rates_bps.append(title.renditions[0].average_bps)
    assert rates_bps[1] > 0.9 * rates_bps[0]


@pytest.mark.parametrize("rate", [Fraction(60000, 1001), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60)])
def test_segments_start_exactly_on_frames_at_broadcast_rates(tmp_path: Path, rate: Fraction) -> None:
    source = make_clip(tmp_path / "clip.mp4", rate=rate, frames=150, sound_s=150 / float(rate))
    title, folder = prepared(source, EncodeSettings(preset="ultrafast", vmaf_every=60, segment_s=1))
    assert title.frame_rate == (rate.numerator, rate.denominator)
    length = round(rate)
    assert title.segment_frames[0] == length
    assert sum(title.segment_frames) == 150
    assert video_times(folder, "108p") == [n / rate for n in range(150)]
    home = folder / "audio" / "audio"
    sound = decode(b"".join(f.read_bytes() for f in [home / "init.mp4", *sorted(home.glob("seg-*"))]), kind="a:0")
    assert abs(sound.end_s - 150 / rate) <= 1 / rate


def test_a_short_rest_joins_the_segment_before_it(tmp_path: Path) -> None:
    title, _ = prepared(make_clip(tmp_path / "clip.mp4", frames=54))
    assert title.segment_frames == (54,)


@pytest.mark.parametrize(("rotation", "corner"), [(90, "bottom left"), (180, "bottom right"), (270, "top right")])
def test_a_turned_phone_is_shown_upright(tmp_path: Path, rotation: int, corner: str) -> None:
    source = make_clip(tmp_path / "phone.mp4", rotation_deg=rotation, frames=3)
    footage = probe(source)
    assert (footage.display_width_px < footage.display_height_px) == (rotation in (90, 270))
    (frame,) = islice(display_frames(source, footage), 1)
    assert (frame.width, frame.height) == (footage.display_width_px, footage.display_height_px)
    assert bright_corner(luma_of(frame)) == corner
    expected = decoded_by_another(source, frame.width, frame.height)
    assert np.corrcoef(luma_of(frame).ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["-display_hflip", "-display_vflip"])
def test_a_mirrored_picture_is_shown_mirrored(tmp_path: Path, rotation: int, flip: str) -> None:
    plain, source = make_clip(tmp_path / "plain.mp4", frames=3), tmp_path / "mirrored.mp4"
    ffmpeg("-display_rotation", str(rotation), flip, "-i", str(plain), "-c", "copy", str(source))
    footage = probe(source)
    (frame,) = islice(display_frames(source, footage), 1)
    assert (frame.width, frame.height) == (footage.display_width_px, footage.display_height_px)
    expected = decoded_by_another(source, frame.width, frame.height)
    assert np.corrcoef(luma_of(frame).ravel(), expected.ravel())[0, 1] > 0.99
    title, _ = prepared(source)
    check_filters(title.source.filters)
    kept = next(reference_frames(source, title))
    assert np.array_equal(luma_of(kept), luma_of(frame))


def bright_corner(picture: np.ndarray) -> str:
    half_y, half_x = picture.shape[0] // 2, picture.shape[1] // 2
    corners = {
        "top left": picture[:half_y, :half_x],
        "top right": picture[:half_y, half_x:],
        "bottom left": picture[half_y:, :half_x],
        "bottom right": picture[half_y:, half_x:],
    }
    return max(corners, key=lambda name: corners[name].mean())


def ffmpeg(*arguments: str) -> bytes:
    return subprocess.run([ffmpeg_program(), "-v", "error", *arguments], capture_output=True, check=True).stdout


def decoded_by_another(source: Path, width_px: int, height_px: int) -> np.ndarray:
    """First frame's luma by the static ffmpeg, which turns pictures by itself."""
    raw = ffmpeg("-i", str(source), "-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8, width_px * height_px).reshape(height_px, width_px).astype(int)


def test_variable_frame_times_are_put_on_a_grid(tmp_path: Path) -> None:
    ticks = [0, 40, 80, 400, 401, 402, 440, 480, 1000]
    source = make_clip(tmp_path / "vfr.mkv", ticks=ticks)
    footage = probe(source)
    frames = list(display_frames(source, footage))
    assert [frame.pts for frame in frames] == list(range(len(frames)))
    assert len({id(frame) for frame in frames}) == len(frames)
    assert len(frames) == pytest.approx(footage.duration_s * float(footage.rate), abs=1)


def red(width_px: int, height_px: int, _index: int) -> np.ndarray:
    return np.full((height_px, width_px, 3), (200, 40, 40), np.uint8)


def test_untagged_standard_definition_becomes_bt709(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "sd.mkv", frames=2, codec="ffv1", paint=red)
    footage = probe(source)
    with av.open(source) as container:
        coded = luma_of(next(container.decode(video=0)))
    (frame,) = islice(display_frames(source, footage), 1)
    # 16 + 219/255 · (Kr·200 + (1 - Kr)·40), Kr = 0.299 in BT.601 and 0.2126 in BT.709
    assert coded.mean() == pytest.approx(91.4, abs=1)
    assert luma_of(frame).mean() == pytest.approx(79.6, abs=1)


def test_rgb_becomes_bt709(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "rgb.mkv", frames=2, codec="ffv1", pixel_format="bgr0", paint=red)
    (frame,) = islice(display_frames(source, probe(source)), 1)
    assert frame.format.name == "yuv420p"
    assert luma_of(frame).mean() == pytest.approx(79.6, abs=1)


def test_full_range_becomes_limited(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "full.mkv", frames=2, codec="mjpeg", pixel_format="yuvj420p", paint=red)
    footage = probe(source)
    assert footage.full_range
    (frame,) = islice(display_frames(source, footage), 1)
    assert luma_of(frame).mean() == pytest.approx(79.6, abs=2)


@pytest.mark.parametrize(
    ("pixel_format", "size_px", "codec"),
    [
        ("yuv420p10le", (192, 108), "ffv1"),
        ("yuv422p", (192, 108), "ffv1"),
        ("yuv444p", (193, 109), "ffv1"),
        ("yuvj420p", (192, 108), "mjpeg"),
        ("yuv420p", (2400, 1350), "mpeg4"),  # larger than any display
    ],
)
@pytest.mark.parametrize("space", [1, 2])  # tagged as BT.709, and not tagged
def test_formats_and_sizes_are_brought_over_without_a_change_of_colour(
    tmp_path: Path, pixel_format: str, size_px: tuple[int, int], codec: str, space: int
) -> None:
    source = tmp_path / "flat.mkv"
    with av.open(source, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size_px, pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = space, 2 if "j" in pixel_format else 1
        rgb = np.full((size_px[1], size_px[0], 3), (170, 120, 40), np.uint8)
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base, frame.colorspace = index, Fraction(1, 25), space
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(source) as container:
        coded = [float(plane.mean()) for plane in _planes(next(container.decode(video=0)))]
    footage = msgspec.structs.replace(probe(source), matrix="bt709")  # small pictures without a tag count as BT.601
    shown = [float(plane.mean()) for plane in _planes(next(display_frames(source, footage)))]
    if "j" in pixel_format:
        coded = [16 + coded[0] * 219 / 255, *(128 + (each - 128) * 224 / 255 for each in coded[1:])]
    assert shown == pytest.approx([each / (4 if "10" in pixel_format else 1) for each in coded], abs=1)


def _planes(frame: av.VideoFrame) -> list[np.ndarray]:
    kind = np.uint16 if "10" in frame.format.name else np.uint8
    rows = [np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1).view(kind) for plane in frame.planes]
    return [row[:, : plane.width] for row, plane in zip(rows, frame.planes, strict=True)]


def test_the_largest_moving_picture_is_chosen(tmp_path: Path) -> None:
    source = tmp_path / "many.mkv"
    with av.open(source, "w") as container:
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream, width in zip(streams, (64, 128), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
        for stream in streams:
            for index in range(5):
                frame = av.VideoFrame(stream.width, 64, "yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    footage = probe(source)
    assert (footage.video_stream, footage.display_width_px) == (1, 128)


@pytest.mark.parametrize("first", ["cover", "film"])
@pytest.mark.parametrize("codec", ["mjpeg", "png"])
@pytest.mark.parametrize("frames", [50, 5])
def test_a_cover_without_a_flag_is_not_the_film(tmp_path: Path, first: str, codec: str, frames: int) -> None:
    cover = make_clip(tmp_path / "cover.mkv", width_px=600, height_px=600, frames=1, codec="ffv1")
    film = make_clip(tmp_path / "film.mkv", frames=frames)
    source = tmp_path / "both.mkv"
    inputs = {"cover": [cover, film], "film": [film, cover]}[first]
    encoders = {cover: codec, film: "copy"}
    ffmpeg(
        *("-i", str(inputs[0]), "-i", str(inputs[1]), "-map", "0:v", "-map", "1:v"),
        *("-c:v:0", encoders[inputs[0]], "-c:v:1", encoders[inputs[1]], "-disposition:v", "0", str(source)),
    )
    footage = probe(source)
    assert (footage.display_width_px, footage.display_height_px) == (192, 108)
    assert footage.duration_s == pytest.approx(frames / 25, abs=0.05)


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        ([(160, 90), (640, 360)], (640, 360)),
        ([(640, 360), (160, 90)], (640, 360)),
        ([(160, 90), (320, 180), (640, 360), (320, 180)], (640, 360)),
    ],
)
def test_a_recording_that_changes_size_has_the_largest(
    tmp_path: Path, sizes: list[tuple[int, int]], largest: tuple[int, int]
) -> None:
    source = tmp_path / "grows.ts"
    parts = [
        make_clip(tmp_path / f"{n}.ts", width_px=width_px, height_px=height_px, frames=25).read_bytes()
        for n, (width_px, height_px) in enumerate(sizes)
    ]
    source.write_bytes(b"".join(parts))
    title, folder = prepared(source)
    assert (title.display_width_px, title.display_height_px) == largest
    assert len(video_times(folder, f"{largest[1]}p")) == 25 * len(sizes)


@pytest.mark.parametrize("from_s", [0.0, 0.5])
def test_sound_starts_when_it_did_in_the_source(tmp_path: Path, from_s: float) -> None:
    source = make_clip(tmp_path / "late.mkv", sound_s=1.5, sound_from_s=from_s)
    title, folder = prepared(source)
    home = folder / "audio" / "audio"
    joined = tmp_path / "sound.mp4"
    joined.write_bytes(b"".join(f.read_bytes() for f in [home / "init.mp4", *sorted(home.glob("seg-*"))]))
    with av.open(joined) as container:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    loud = np.flatnonzero(np.abs(wave) > 0.1) / 48000
    assert loud[0] == pytest.approx(from_s, abs=0.03)
    assert loud[-1] == pytest.approx(from_s + 1.5, abs=0.05)
    assert len(wave) / 48000 == pytest.approx(title.duration_s, abs=1 / title.fps)


def test_interlaced_television_is_shown_in_whole_frames(tmp_path: Path) -> None:
    source = tmp_path / "tv.mpg"
    weave = ["-vf", "tinterlace=interleave_top,setfield=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct"]
    ffmpeg("-i", str(make_clip(tmp_path / "film.mkv", frames=40)), *weave, str(source))
    footage = probe(source)
    assert footage.interlaced
    frames = list(display_frames(source, footage))
    assert len(frames) == footage.frames_expected


@pytest.mark.parametrize("kind", ["dv", "mpeg2"])
def test_film_that_is_flagged_as_interlaced_is_not_blurred(tmp_path: Path, kind: str) -> None:
    """Progressive segmented frames, as cameras write them: whole pictures in two fields."""
    clip = str(make_clip(tmp_path / "film.mkv", width_px=720, height_px=576, frames=40, codec="ffv1"))
    codec = {"dv": ["-c:v", "dvvideo", "-pix_fmt", "yuv420p"], "mpeg2": ["-c:v", "mpeg2video", "-q:v", "2"]}[kind]
    source = tmp_path / {"dv": "film.avi", "mpeg2": "film.mpg"}[kind]
    ffmpeg("-i", clip, "-vf", "setfield=tff", *codec, "-flags", "+ilme+ildct", str(source))
    with av.open(source) as container:
        coded = [(luma_of(frame).copy(), frame.interlaced_frame) for frame in container.decode(video=0)]
    assert all(flag for _, flag in coded)
    footage = msgspec.structs.replace(probe(source), matrix="bt709", display_width_px=720, display_height_px=576)
    assert not footage.interlaced
    for frame, (luma, _) in zip(display_frames(source, footage), coded, strict=True):
        assert np.array_equal(luma_of(frame), luma)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_cuts_noise_and_standstills_do_not_look_interlaced(share: float) -> None:
    """share: of the pictures that are woven of two moments; the others are whole, of many scenes."""
    random, meter = np.random.default_rng(1), InterlaceMeter()
    y, x = np.mgrid[:288, :352]
    for index in range(300):
        scene, at = index // 20, 3 * index * (index // 20 % 3 > 0)  # each third scene stands still
        moments = [np.sin((x + at + shift) / (5 + scene)) * np.cos((y + scene) / 9) for shift in (0, 1.5)]
        first, second = ((120 + 80 * moment + random.normal(0, 4, moment.shape)).clip(0, 255) for moment in moments)
        if random.random() < share:
            first[1::2] = second[1::2]
        frame = av.VideoFrame.from_ndarray(first.astype(np.uint8), format="gray")
        meter.add(cast("av.VideoFrame", SimpleNamespace(interlaced_frame=True, height=288, reformat=frame.reformat)))
    assert meter.is_interlaced == (share > 0)


@pytest.mark.parametrize("order", ["film first", "television first"])
def test_only_pictures_that_are_interlaced_are_deinterlaced(tmp_path: Path, order: str) -> None:
    clip = str(make_clip(tmp_path / "clip.mkv", frames=50, codec="ffv1"))
    weave = ["-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ilme+ildct"]
    parts = {"film first": ([], weave), "television first": (weave, [])}[order]
    source = tmp_path / "mixed.ts"
    for index, part in enumerate(parts):
        ffmpeg("-i", clip, *part, "-c:v", "mpeg2video", "-q:v", "2", "-r", "25", str(tmp_path / f"{index}.ts"))
    source.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    with av.open(source) as container:
        coded = [(luma_of(frame).copy(), frame.interlaced_frame) for frame in container.decode(video=0)]
    assert {flag for _, flag in coded} == {True, False}
    frames = list(display_frames(source, msgspec.structs.replace(probe(source), matrix="bt709")))
    assert len(frames) == len(coded)
    combed = [combing(luma) for luma, flag in coded if flag]
    mended = [combing(luma_of(frame)) for frame, (_, flag) in zip(frames, coded, strict=True) if flag]
    assert np.mean(mended) < 0.75 * np.mean(combed)
    for frame, (luma, flag) in zip(frames, coded, strict=True):
        assert flag or np.array_equal(luma_of(frame), luma)


def combing(luma: np.ndarray) -> float:
    """How much lines differ from their neighbours."""
    rows = luma.astype(int)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


def test_a_recording_that_changes_its_shape_gets_bars_and_is_not_stretched(tmp_path: Path) -> None:
    """A phone that is turned, or a window that is resized, while it is recorded."""
    parts = [(320, 180), (180, 320), (240, 180)]
    for index, (width, height) in enumerate(parts):
        make_clip(tmp_path / f"{index}.ts", width_px=width, height_px=height, frames=25, paint=white)
    source = tmp_path / "turned.ts"
    source.write_bytes(b"".join((tmp_path / f"{index}.ts").read_bytes() for index in range(3)))
    footage = msgspec.structs.replace(
        probe(source), coded_width_px=320, coded_height_px=180, display_width_px=320, display_height_px=180
    )
    seen = {}
    for frame in display_frames(source, footage):
        lit = luma_of(frame) > 120
        rows, columns = np.flatnonzero(lit.mean(axis=1) > 0.1), np.flatnonzero(lit.mean(axis=0) > 0.1)
        seen.setdefault((columns[0], columns[-1] + 1, rows[0], rows[-1] + 1), frame.pts)
    assert list(seen) == [(0, 320, 0, 180), (108, 210, 0, 180), (40, 280, 0, 180)]


def test_preparing_ends_when_its_time_is_up(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "film.mp4")
    arguments = [str(source), "--library", str(tmp_path / "library"), "--time-limit", "0.2s"]
    done = CliRunner(catch_exceptions=True).invoke(prepare, arguments)
    assert done.exit_code != 0 and "was not done after 0.2 s" in str(done.exception)
    assert not (tmp_path / "library" / "film").exists()


def white(width_px: int, height_px: int, _index: int) -> np.ndarray:
    return np.full((height_px, width_px, 3), 230, np.uint8)


@pytest.mark.parametrize("factor", [3, 40])
def test_a_header_that_says_too_much_can_be_passed_over(tmp_path: Path, factor: int) -> None:
    source = make_clip(tmp_path / "stale.mkv", frames=50)
    data = bytearray(source.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3  # Duration, of eight bytes: RFC 9559, 5.1.2.10
    (duration,) = struct.unpack_from(">d", data, at)
    struct.pack_into(">d", data, at, duration * factor)
    source.write_bytes(data)
    arguments = [str(source), "--library", str(tmp_path / "library"), "--preset", "ultrafast", "--json"]
    refused = CliRunner().invoke(prepare, arguments)
    assert isinstance(refused.exception, InputError)
    assert "--accept-short" in str(refused.exception)
    ran = CliRunner().invoke(prepare, [*arguments, "--accept-short"])
    assert ran.exit_code == 0
    assert "ends after 2.0 s" in ran.stderr
    title = Library(tmp_path / "library").title("stale")
    assert sum(title.segment_frames) == 50
    assert len(list(reference_frames(source, title))) == 50


def test_an_animated_gif_becomes_a_title(tmp_path: Path) -> None:
    source = tmp_path / "anim.gif"
    ffmpeg("-i", str(make_clip(tmp_path / "clip.mkv", frames=50)), str(source))
    title, _ = prepared(source)
    assert title.duration_s == pytest.approx(2, abs=0.1)
    assert title.fps == pytest.approx(25, rel=0.1)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_pictures_that_share_a_moment_are_not_lost_without_a_word(tmp_path: Path, share: float) -> None:
    """share: of the FLV's tags, from its start, whose time is zero, as some recorders leave them."""
    source = make_clip(tmp_path / "clip.flv", frames=50, codec="flv")
    data, at, tags = bytearray(source.read_bytes()), 13, []
    while at < len(data):
        tags.append(at)
        at += 15 + int.from_bytes(data[at + 1 : at + 4])
    for at in tags[: int(share * len(tags))]:
        data[at + 4 : at + 8] = bytes(4)
    source.write_bytes(data)
    if share == 1.0:
        with pytest.raises(MediaError, match="without times"):
            probe(source, accept_short=True)
    else:
        assert any("have a moment of their own" in note for note in probe(source).notes)


@pytest.mark.parametrize("codec", ["flv", "libx264"])
def test_flash_video_becomes_a_title(tmp_path: Path, codec: str) -> None:
    title, _ = prepared(make_clip(tmp_path / "clip.flv", frames=50, codec=codec, sound_s=2))
    assert title.duration_s == pytest.approx(2, abs=0.1)
    assert title.audio


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize(("step_ms", "fps"), [(40, 25), (20, 50), (7, 48)])
def test_a_recording_that_mostly_stands_still_has_the_rate_of_its_motion(
    tmp_path: Path, suffix: str, step_ms: int, fps: int
) -> None:
    ticks = [start + step_ms * n for start in range(0, 5000, 1000) for n in range(8)]
    title, _ = prepared(make_clip(tmp_path / f"screen.{suffix}", ticks=ticks))
    assert title.fps == pytest.approx(fps, rel=0.05)


def test_a_cap_holds(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "busy.mp4", frames=100, width_px=320, height_px=180)
    free, _ = prepared(source)
    cap_bps = free.renditions[0].average_bps // 4
    done = prepare_title(
        source,
        Library(tmp_path / "library"),
        EncodeSettings(preset="ultrafast", vmaf_every=60, heights_px=(180,), caps_bps=((180, cap_bps),)),
        title_id="capped",
    )
    assert sum(done.title.renditions[0].segment_bytes) * 8 <= cap_bps * (done.title.duration_s + CAP_WINDOW_S)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--heights", "90,tall"], "not a list of heights"),
        (["--heights", "720"], "from 64 to 108"),
        (["--rung", "108"], "such as 360=500k"),
        (["--rung", "90=500k"], "no rung of 90 lines"),
        (["--rung", "108=1k"], "too low"),
        (["--audio-bitrate", "much"], "not a bitrate"),
        (["--id", "../up"], "cannot name a title"),
    ],
)
def test_flags_that_cannot_be_are_refused(tmp_path: Path, flags: list[str], why: str) -> None:
    source = make_clip(tmp_path / "clip.mp4", frames=5)
    ran = CliRunner().invoke(prepare, [str(source), "--library", str(tmp_path / "library"), *flags])
    assert isinstance(ran.exception, InputError)
    assert why in str(ran.exception)
    assert not (tmp_path / "library").exists() or not list((tmp_path / "library").iterdir())


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_what_is_no_title_is_not_replaced_by_one(tmp_path: Path, force: tuple[str, ...]) -> None:
    library = tmp_path / "library"
    (library / "clip").mkdir(parents=True)
    (library / "clip" / "diary.txt").write_text("mine")
    (library / "link").symlink_to(library / "clip")
    (library / "file").write_text("mine too")
    source = make_clip(tmp_path / "clip.mp4", frames=5)
    for name in ("clip", "link", "file"):
        ran = CliRunner().invoke(prepare, [str(source), "--library", str(library), "--id", name, *force])
        assert isinstance(ran.exception, InputError) and "is no title; move it away" in str(ran.exception)
    assert (library / "clip" / "diary.txt").read_text() == "mine" and (library / "file").is_file()
    assert sorted(path.name for path in library.iterdir()) == ["clip", "file", "link"]


@pytest.fixture(scope="module")
def bad_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    whole = CLIP.read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.txt").write_text("This is not a film.\n" * 100)
    (folder / "playlist.m3u8").write_text(f"#EXTM3U\n#EXTINF:5,\n{CLIP}\n#EXT-X-ENDLIST\n")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(50_000))
    with av.open(folder / "sound.m4a", "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(CLIP) as source, av.open(folder / "faststart.mp4", "w", options={"movflags": "faststart"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    whole = (folder / "faststart.mp4").read_bytes()
    (folder / "faststart.mp4").write_bytes(whole[: len(whole) // 2])
    stretch = ["-t", "0.2", "-an", "-vf", "scale=192:108,setsar=100", str(folder / "stretched.mp4")]
    subprocess.run([ffmpeg_program(), "-v", "error", "-i", str(CLIP), *stretch], check=True)
    make_clip(folder / "bare.h264", frames=5)
    return folder


BAD = [
    "truncated.mp4",
    "faststart.mp4",
    "empty.mp4",
    "text.txt",
    "playlist.m3u8",
    "noise.mp4",
    "sound.m4a",
    "stretched.mp4",
    "bare.h264",
]


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_whole_video_is_refused_in_one_sentence(bad_sources: Path, tmp_path: Path, name: str) -> None:
    library = Library(tmp_path / "library")
    with pytest.raises(MediaError) as refused:
        prepare_title(bad_sources / name, library, FAST)
    assert refused.value.exit_code == 2
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
    assert library.titles() == []
    assert list(library.root.iterdir()) == []


def test_one_bad_source_does_not_stop_the_others(bad_sources: Path, tmp_path: Path) -> None:
    good = make_clip(tmp_path / "good.mp4", frames=10)
    arguments = [str(bad_sources / "empty.mp4"), str(good), "--library", str(tmp_path / "library")]
    ran = CliRunner().invoke(prepare, [*arguments, "--preset", "ultrafast"])
    assert ran.exit_code == 2
    assert ran.stdout == f"{tmp_path / 'library' / 'good'}\n"
    assert ran.stderr.count("empty.mp4 is empty") == 1

"""Sources with quirks become titles that are exact; sources that are no video are refused in one sentence."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip
from oracle import decode
from titles import CLIP

from abr.errors import InputError, MediaError
from abr.media import Title
from abr.quality import ffmpeg_program
from server.ingest.cli import prepare
from server.ingest.frames import display_frames
from server.ingest.prepare import prepare_title
from server.ingest.pricing import luma
from server.ingest.probe import probe
from server.ingest.recipe import CAP_WINDOW_S, Recipe
from server.library import Library

FAST = Recipe(preset="ultrafast", vmaf_every=30)


def prepared(source: Path, recipe: Recipe = FAST) -> tuple[Title, Path]:
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


def test_a_title_shorter_than_a_segment_is_no_worse_for_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (10, 108, 192, 3), dtype=np.uint8)
    source = make_clip(tmp_path / "short.mkv", frames=10, codec="ffv1", paint=lambda _w, _h, index: noise[index])
    rates_bps = []
    for segment_s in (0.5, 6):
        recipe = Recipe(heights_px=(108,), preset="ultrafast", vmaf_every=30, segment_s=segment_s)
        title = prepare_title(source, Library(tmp_path / str(segment_s)), recipe).title
        rates_bps.append(title.renditions[0].average_bps)
    assert rates_bps[1] > 0.9 * rates_bps[0]


@pytest.mark.parametrize("rate", [Fraction(60000, 1001), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60)])
def test_segments_start_exactly_on_frames_at_broadcast_rates(tmp_path: Path, rate: Fraction) -> None:
    source = make_clip(tmp_path / "clip.mp4", rate=rate, frames=150, sound_s=150 / float(rate))
    title, folder = prepared(source, Recipe(preset="ultrafast", vmaf_every=60, segment_s=1))
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
    assert bright_corner(luma(frame)) == corner
    expected = decoded_by_another(source, frame.width, frame.height)
    assert np.corrcoef(luma(frame).ravel(), expected.ravel())[0, 1] > 0.99


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
        coded = luma(next(container.decode(video=0)))
    (frame,) = islice(display_frames(source, footage), 1)
    # 16 + 219/255 · (Kr·200 + (1 - Kr)·40), Kr = 0.299 in BT.601 and 0.2126 in BT.709
    assert coded.mean() == pytest.approx(91.4, abs=1)
    assert luma(frame).mean() == pytest.approx(79.6, abs=1)


def test_rgb_becomes_bt709(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "rgb.mkv", frames=2, codec="ffv1", pixel_format="bgr0", paint=red)
    (frame,) = islice(display_frames(source, probe(source)), 1)
    assert frame.format.name == "yuv420p"
    assert luma(frame).mean() == pytest.approx(79.6, abs=1)


def test_full_range_becomes_limited(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "full.mkv", frames=2, codec="mjpeg", pixel_format="yuvj420p", paint=red)
    footage = probe(source)
    assert footage.full_range
    (frame,) = islice(display_frames(source, footage), 1)
    assert luma(frame).mean() == pytest.approx(79.6, abs=2)


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
    weave = ["-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct"]
    ffmpeg("-i", str(make_clip(tmp_path / "film.mkv", frames=20)), *weave, str(source))
    footage = probe(source)
    assert footage.interlaced
    frames = list(display_frames(source, footage))
    assert len(frames) == footage.frames_expected


def test_a_cap_holds(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "busy.mp4", frames=100, width_px=320, height_px=180)
    free, _ = prepared(source)
    cap_bps = free.renditions[0].average_bps // 4
    done = prepare_title(
        source,
        Library(tmp_path / "library"),
        Recipe(preset="ultrafast", vmaf_every=60, heights_px=(180,), caps_bps=((180, cap_bps),)),
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

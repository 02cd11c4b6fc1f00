"""Kinds of files that people report trouble with elsewhere: each becomes a title as it was meant.

Others are in the pages beside this one: turned phones, odd sizes, variable rates, telecine, GIF, FLV, joined files.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from many_tracks import loudest_hz

from abr.errors import MediaError
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

FAST = EncodeSettings(heights_px=(90,), preset="ultrafast", vmaf_every=25, panel_every=0, segment_s=1)
PICTURES = "testsrc2=s=160x90:r=25:d=1.2"
TONE = "sine=440:d=1.2:r=48000"
X264 = ("-c:v", "libx264", "-preset", "ultrafast")
SINGLE_CHANNELS = (
    "its 3 tracks of sound have one channel each and become as many sounds; if they are channels of one, "
    "join them first",
)
QUIET_CENTRES = "|".join(["0.2*sin(440*2*PI*t)"] * 2 + ["0"] * 6)


def prepared(tmp_path: Path, name: str, sounds: tuple[str, ...], options: tuple[str, ...]) -> tuple[Path, list[int]]:
    """The title's folder, and the channels of its sounds; asserts that no picture is lost."""
    source = tmp_path / name
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", PICTURES]
    for sound in sounds:
        command += ["-f", "lavfi", "-i", sound]
    command += [word for number in range(len(sounds) + 1) for word in ("-map", str(number))]
    subprocess.run([*command, *options, str(source)], check=True)
    done = prepare_title(source, Library(tmp_path / "library"), FAST, title_id="film")
    assert done.notes == (SINGLE_CHANNELS if name.endswith("mxf") else ()) and sum(done.title.segment_frames) == 30
    assert min(done.title.plain_quality["90p"].psnr_y_db) > 28
    return done.folder, [track.channels for track in done.title.audio]


def tone_hz(folder: Path, track: str) -> float:
    data = b"".join(path.read_bytes() for path in sorted((folder / "audio" / track).glob("*")))
    (folder / "heard.mp4").write_bytes(data)
    with av.open(str(folder / "heard.mp4")) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return loudest_hz(heard[12_000:36_000], 48_000)


@pytest.mark.parametrize(
    ("name", "sounds", "channels", "options"),
    [
        pytest.param(
            "film.webm",
            (TONE,),
            [2],
            (
                "-pix_fmt",
                "yuva420p",
                "-c:v",
                "libvpx-vp9",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-c:a",
                "libopus",
            ),
            id="VP9 with transparency, Opus with priming",
        ),
        pytest.param(
            "film.mkv",
            (f"aevalsrc={QUIET_CENTRES}:c=7.1:d=1.2:s=96000",),
            [2, 6],
            (*X264, "-c:a", "flac", "-sample_fmt", "s32"),
            id="eight channels of 96 kHz and 24 bits",
        ),
        pytest.param(
            "film.avi",
            (TONE,),
            [2],
            ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-vtag", "XVID", "-c:a", "libmp3lame"),
            id="B-frames in an AVI",
        ),
        pytest.param(
            "film.mxf",
            (TONE,) * 3,
            [2, 2, 2],
            ("-c:v", "mpeg2video", "-q:v", "2", "-pix_fmt", "yuv422p", "-c:a", "pcm_s16le"),
            id="a broadcaster's tracks of one channel each",
        ),
        pytest.param(
            "film.ts",
            (TONE,),
            [2],
            (*X264, "-c:a", "aac", "-output_ts_offset", "95443"),
            id="a clock of 33 bits runs over",
        ),
        pytest.param(
            "film.mov",
            (TONE,),
            [2],
            (*X264, "-c:a", "pcm_mulaw", "-ar", "8000", "-timecode", "01:00:00:00"),
            id="a track of timecode, sound as on a telephone",
        ),
    ],
)
def test_it_becomes_a_title(
    tmp_path: Path, name: str, sounds: tuple[str, ...], channels: list[int], options: tuple[str, ...]
):
    folder, found = prepared(tmp_path, name, sounds, options)
    assert found == channels
    assert tone_hz(folder, "audio") == pytest.approx(440, abs=3)


LIGHT = ("-c:v", "libx264", "-preset", "ultrafast")
DIALOGUE = """[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.20,0:00:01.00,Default,,0,0,0,,Hello
"""


@pytest.mark.parametrize(
    ("name", "report", "options"),
    [
        (
            "recorded-in-a-browser.webm",  # without a duration, and no way to seek
            "https://github.com/muaz-khan/RecordRTC/issues/147",
            ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis", "-live", "1"),
        ),
        (
            "lossless-screen.mkv",  # RGB in H.264
            "https://github.com/obsproject/obs-studio/issues/7923",
            ("-c:v", "libx264rgb", "-crf", "0", "-preset", "ultrafast", "-pix_fmt", "rgb24", "-c:a", "aac"),
        ),
        (
            "still-camera.avi",  # Motion JPEG in full range, sound of 8 bits
            "https://github.com/MediaBrowser/Emby/issues/3524",
            ("-c:v", "mjpeg", "-pix_fmt", "yuvj422p", "-q:v", "2", "-c:a", "pcm_u8", "-ar", "11025"),
        ),
        (
            "fragmented.mp4",  # what a recorder leaves that may be cut off at any moment; its clock begins late
            "https://github.com/rigaya/NVEnc/issues/386",
            (*LIGHT, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-output_ts_offset", "0.667"),
        ),
        (
            "action-camera.ts",  # telemetry as a third stream
            "https://github.com/mifi/lossless-cut/issues/2134",
            ("-f", "data", "-i", "telemetry.bin", "-map", "0", "-map", "1", "-map", "2", *LIGHT, "-c:d", "copy"),
        ),
        (
            "with-fonts.mkv",  # ten bits, styled subtitles and the fonts that they want
            "https://github.com/rigaya/NVEnc/issues/221",
            (
                *("-i", "lines.ass", "-attach", "font.ttf", "-metadata:s:t", "mimetype=font/ttf"),
                *("-map", "0", "-map", "1", "-map", "2", *LIGHT, "-pix_fmt", "yuv420p10le", "-c:a", "flac"),
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "://" not in value else "",
)
def test_what_others_stumble_over_is_shown_and_heard(
    tmp_path: Path, name: str, report: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("telemetry.bin").write_bytes(b"GPMD" * 500)
    Path("font.ttf").write_bytes(bytes(200))
    Path("lines.ass").write_text("[Script Info]\nScriptType: v4.00+\n" + DIALOGUE)
    made = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", PICTURES, "-f", "lavfi", "-i", TONE]
    subprocess.run([*made, *options, name], check=True)
    done = prepare_title(tmp_path / name, Library(tmp_path / "library"), FAST, title_id="film")
    assert sum(done.title.segment_frames) == pytest.approx(30, abs=1) and done.title.fps == 25, report
    assert min(done.title.plain_quality["90p"].psnr_y_db) > 28, report
    assert tone_hz(done.folder, "audio") == pytest.approx(440, abs=3), report
    assert len(done.title.subtitles) == ("lines.ass" in options)


def test_music_with_a_cover_is_no_film(tmp_path: Path):
    """https://github.com/Chocobozzz/PeerTube/issues/5118."""
    made = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", TONE, "-f", "lavfi", "-i", PICTURES]
    cover = ("-map", "0", "-map", "1", "-c:v", "mjpeg", "-frames:v", "1", "-disposition:v", "attached_pic")
    subprocess.run([*made, *cover, str(tmp_path / "song.mp3")], check=True)
    with pytest.raises(MediaError, match=r"song.mp3 has no video stream; give a file with moving pictures\."):
        prepare_title(tmp_path / "song.mp3", Library(tmp_path / "library"), FAST)
    assert list((tmp_path / "library").glob("[!.]*")) == []

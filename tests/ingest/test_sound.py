"""Sound of any kind comes along, and a film whose sound is broken is not lost with it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import av
import m3u8
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip, picture

from server.ingest.cli import prepare
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

FAST = EncodeSettings(preset="ultrafast", vmaf_every=30)


def sound_of(folder: Path) -> np.ndarray:
    home = folder / "audio" / "audio"
    joined = folder.parent / "sound.mp4"
    joined.write_bytes(b"".join(f.read_bytes() for f in [home / "init.mp4", *sorted(home.glob("seg-*"))]))
    with av.open(joined) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def write_part(path: Path, codec: str, rate_hz: int, layout: str, from_s: int) -> bytes:
    """One second of MPEG-TS from `from_s` on, with a tone in every channel."""
    with av.open(path, "w", options={"mpegts_copyts": "1"}) as container:
        video, sound = (
            container.add_stream("libx264", rate=25),
            container.add_stream(codec, rate=rate_hz, layout=layout),
        )
        assert isinstance(video, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        video.width, video.height, video.pix_fmt = 192, 108, "yuv420p"
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(picture(192, 108, index), format="rgb24")
            frame.pts, frame.time_base = from_s * 25 + index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        size = sound.codec_context.frame_size or 1024
        for start in range(0, rate_hz, size):
            wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(start, start + size) / rate_hz).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(np.stack([wave] * sound.codec_context.channels), "fltp", layout)
            heard.sample_rate, heard.time_base = rate_hz, Fraction(1, rate_hz)
            heard.pts = from_s * rate_hz + start
            container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("codec", "parts"),
    [
        ("ac3", [(48000, "stereo"), (48000, "5.1")]),
        ("ac3", [(48000, "5.1"), (48000, "mono"), (48000, "stereo")]),
        ("aac", [(44100, "stereo"), (48000, "stereo")]),
        ("aac", [(48000, "mono"), (22050, "stereo")]),
        ("mp2", [(48000, "stereo"), (32000, "mono")]),
    ],
)
def test_sound_that_changes_its_parameters_goes_on(
    tmp_path: Path, codec: str, parts: Sequence[tuple[int, str]]
) -> None:
    source = tmp_path / "changes.ts"
    pieces = [write_part(tmp_path / "part.ts", codec, *part, from_s=n) for n, part in enumerate(parts)]
    source.write_bytes(b"".join(pieces))
    done = prepare_title(source, Library(tmp_path / "library"), FAST)
    assert done.title.duration_s == pytest.approx(len(parts), abs=0.15)
    wave = sound_of(done.folder)
    for second in range(len(parts)):
        middle = wave[int((second + 0.3) * 48000) : int((second + 0.8) * 48000)]
        loudness = np.abs(np.fft.rfft(middle))
        assert np.argmax(loudness) * 2 == pytest.approx(440, abs=2)
        assert np.sqrt(np.mean(middle**2)) > 0.1


@pytest.mark.parametrize("codecs", [("aac", "mp2"), ("mp2", "aac")])
def test_sound_that_goes_on_in_another_codec_is_told_of(tmp_path: Path, codecs: Sequence[str]) -> None:
    source = tmp_path / "joined.ts"
    pieces = [write_part(tmp_path / "part.ts", codec, 48000, "stereo", from_s=n) for n, codec in enumerate(codecs)]
    source.write_bytes(b"".join(pieces))
    done = prepare_title(source, Library(tmp_path / "library"), FAST)
    assert any("packets of sound cannot be decoded" in note for note in done.notes)
    loudness = [np.sqrt(np.mean(second**2)) for second in np.split(sound_of(done.folder)[:96000], [48000])]
    assert loudness[0] > 0.1 > 0.02 > loudness[1]
    assert done.title.duration_s == pytest.approx(2, abs=0.15)


def copy_with_sound(source: Path, path: Path, tracks: str) -> Path:
    """Copy pictures; a track of sound for each letter: e(mpty), b(roken), g(ood)."""
    noise = np.random.default_rng(1)
    with av.open(source) as whole, av.open(path, "w") as copy:
        pairs = {stream.index: stream for stream in whole.streams}
        video = copy.add_stream_from_template(pairs[0])
        sounds = [copy.add_stream_from_template(pairs[1]) for _ in tracks]
        for packet in whole.demux():
            if packet.dts is None:
                continue
            data, pts, dts, base = bytes(packet), packet.pts, packet.dts, packet.time_base
            for stream, kind in [(video, "g")] if packet.stream_index == 0 else zip(sounds, tracks, strict=True):
                if kind == "e":
                    continue
                copied = av.Packet(data if kind == "g" else b"\x7e" + noise.bytes(len(data)))
                copied.pts, copied.dts, copied.time_base, copied.stream = pts, dts, base, stream
                copied.is_keyframe = packet.is_keyframe
                copy.mux(copied)
    return path


def write_declared_sound(path: Path) -> None:
    """Pictures, and an encoder of sound that never gets any."""
    options = {"movflags": "empty_moov+frag_keyframe"} if path.suffix == ".mp4" else {}
    with av.open(path, "w", options=options) as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48000)
        assert isinstance(video, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        video.width, video.height, video.pix_fmt = 192, 108, "yuv420p"
        container.start_encoding()
        for index in range(60):
            frame = av.VideoFrame.from_ndarray(picture(192, 108, index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
@pytest.mark.parametrize("tracks", ["declared", "e", "b"])
def test_a_film_with_broken_sound_becomes_a_silent_title_and_says_so(tmp_path: Path, name: str, tracks: str) -> None:
    source = tmp_path / name
    if tracks == "declared" or (name, tracks) == ("film.mp4", "e"):  # a copy would lose the track
        write_declared_sound(source)
    else:
        copy_with_sound(make_clip(tmp_path / "clip.mp4", sound_s=2.4), source, tracks)
    arguments = [str(source), "--library", str(tmp_path / "library"), "--preset", "ultrafast", "--json"]
    ran = CliRunner().invoke(prepare, arguments)
    assert ran.exit_code == 0
    assert "film" in ran.stderr
    assert "the title is silent" in ran.stderr
    assert any("silent" in note for note in msgspec.json.decode(ran.stdout)["notes"])
    title = Library(tmp_path / "library").title("film")
    assert title.audio == ()
    assert sum(title.segment_frames) == 60


def test_another_track_stands_in_for_an_empty_one(tmp_path: Path) -> None:
    source = copy_with_sound(make_clip(tmp_path / "clip.mp4", sound_s=2.4), tmp_path / "film.mkv", "eg")
    done = prepare_title(source, Library(tmp_path / "library"), FAST)
    assert np.sqrt(np.mean(sound_of(done.folder) ** 2)) > 0.1


@pytest.mark.parametrize(
    ("name", "languages", "tag"),
    [
        ("film.mkv", ("spa", "eng"), "es"),
        ("film.mp4", ("fre",), "fr"),
        ("film.mp4", ("zho", "eng"), "zh"),
        ("film.ts", ("ger",), "de"),
        ("film.mkv", ("fil",), "fil"),
        ("film.mkv", ("en-US",), "en-US"),
        ("film.mkv", ('x"><y',), "und"),
        ("film.mkv", ("",), "und"),
    ],
)
def test_the_language_of_the_sound_is_told(tmp_path: Path, name: str, languages: Sequence[str], tag: str) -> None:
    clip, source = make_clip(tmp_path / "clip.mp4", frames=10, sound_s=0.4), tmp_path / name
    with av.open(clip) as whole, av.open(source, "w") as copy:
        video = copy.add_stream_from_template(whole.streams.video[0])
        sounds = [copy.add_stream_from_template(whole.streams.audio[0]) for _ in languages]
        for sound, language in zip(sounds, languages, strict=True):
            sound.metadata["language"] = language
        for packet in whole.demux():
            if packet.dts is None:
                continue
            data, is_picture = bytes(packet), packet.stream_index == 0
            for stream in [video] if is_picture else sounds:
                copied = av.Packet(data)
                copied.pts, copied.dts, copied.time_base, copied.stream = (
                    packet.pts,
                    packet.dts,
                    packet.time_base,
                    stream,
                )
                copied.is_keyframe = packet.is_keyframe
                copy.mux(copied)
    done = prepare_title(source, Library(tmp_path / "library"), FAST, title_id="it")
    for manifest in ("manifest.mpd", "driven.mpd"):
        tracks = ElementTree.parse(done.folder / manifest).findall(".//*[@contentType='audio']")
        assert len(tracks) == len(languages) and tracks[0].get("lang") == tag
    media, *_ = m3u8.load(str(done.folder / "master.m3u8")).media
    assert media.language == (None if tag == "und" else tag)
    assert Library(tmp_path / "library").title("it").audio[0].language == tag


def test_nothing_is_said_of_a_film_that_is_whole(tmp_path: Path) -> None:
    done = prepare_title(make_clip(tmp_path / "clip.mp4", sound_s=2.4), Library(tmp_path / "library"), FAST)
    assert done.notes == ()
    assert done.title.audio

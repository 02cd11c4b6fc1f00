"""Timestamps that restart, jump or stray: nothing of the film is lost, and nothing stands still for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip, picture

from abr.errors import MediaError
from abr.media.planes import luma_of
from abr.media.probe import probe
from abr.media.source_frames import display_frames
from abr.media.timeline import Shifts, find_all_shifts, find_shifts, place
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import Prepared, prepare_title
from server.media.library import Library

FAST = EncodeSettings(preset="ultrafast", vmaf_every=30)
STEP_S = 0.04


class Frames:
    def __init__(self, times_s: Sequence[float], step_s: float = STEP_S) -> None:
        self.times_s, self.durations_s = times_s, [step_s] * len(times_s)


def run(from_s: float, count: int, step_s: float = STEP_S) -> list[float]:
    return [from_s + step_s * n for n in range(count)]


def mended(times_s: Sequence[float], shifts: Shifts) -> list[float]:
    return place(times_s, [STEP_S] * len(times_s), shifts)


@pytest.mark.parametrize("second_s", [0.0, 1.4, 5000.0])
def test_a_clock_that_restarts_or_jumps_goes_on(second_s: float) -> None:
    times_s = run(1.4, 50) + run(second_s, 50)
    shifts, _ = find_all_shifts(Frames(times_s), [], clock_jumps=True)
    assert mended(times_s, shifts) == pytest.approx(run(1.4, 100))


@pytest.mark.parametrize("wild_s", [-300.0, 300.0, 1e5])
@pytest.mark.parametrize("at", [[0], [25], [25, 26], [3, 20, 40], [49]])
def test_a_few_wild_times_are_put_between_their_neighbours(wild_s: float, at: list[int]) -> None:
    right_s = run(2.0, 50)
    times_s = [time_s + wild_s if n in at else time_s for n, time_s in enumerate(right_s)]
    shifts, _ = find_all_shifts(Frames(times_s), [], clock_jumps=True)
    assert mended(times_s, shifts) == pytest.approx(right_s)


def test_slides_far_apart_stay_where_they_are() -> None:
    times_s = [45.0 * n for n in range(20)]
    assert find_all_shifts(Frames(times_s), [], clock_jumps=False) == ((), [])
    assert find_all_shifts(Frames(times_s), [Frames(run(0, 40_000, 0.0213), 0.0213)], clock_jumps=True) == ((), [()])


def test_sound_and_pictures_jump_together() -> None:
    pictures, sound = Frames(run(1.4, 50) + run(0.5, 50)), Frames(run(1.3, 100, 0.02) + run(0.45, 100, 0.02), 0.02)
    shown, (heard,) = find_all_shifts(pictures, [sound], clock_jumps=True)
    assert len(shown) == len(heard) == 1
    assert shown[0][1] == heard[0][1]


def test_a_frame_without_a_time_follows_the_one_before() -> None:
    times_s = [0.0, math.nan, math.nan, 0.12]
    assert find_shifts(times_s, [STEP_S] * 4) == ()
    assert mended(times_s, ()) == pytest.approx(run(0, 4))


def write_tones(path: Path, hz: int, first_picture: int) -> bytes:
    """Two seconds of MPEG-TS: pictures numbered from `first_picture` on, and a tone."""
    with av.open(path, "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48000)
        assert isinstance(video, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        video.width, video.height, video.pix_fmt = 192, 108, "yuv420p"
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(picture(192, 108, first_picture + index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, 96000, 1024):
            wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(start, start + 1024) / 48000).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
            heard.sample_rate, heard.time_base, heard.pts = 48000, Fraction(1, 48000), start
            container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return path.read_bytes()


def sound_of(folder: Path) -> np.ndarray:
    home = folder / "audio" / "audio"
    joined = folder.parent / "sound.mp4"
    joined.write_bytes(b"".join(f.read_bytes() for f in [home / "init.mp4", *sorted(home.glob("seg-*"))]))
    with av.open(joined) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def prepare(source: Path) -> Prepared:
    return prepare_title(source, Library(source.parent / "library"), FAST)


@pytest.mark.parametrize("tones_hz", [(440, 880), (440, 880, 660)])
def test_joined_recordings_are_shown_and_heard_to_their_end(tmp_path: Path, tones_hz: Sequence[int]) -> None:
    source = tmp_path / "joined.ts"
    parts = [write_tones(tmp_path / "part.ts", hz, 50 * n) for n, hz in enumerate(tones_hz)]
    source.write_bytes(b"".join(parts))
    done = prepare(source)
    assert done.title.duration_s == pytest.approx(2 * len(parts), abs=0.1)
    assert any("restart" in note for note in done.notes)
    wave = sound_of(done.folder)
    for n, hz in enumerate(tones_hz):
        middle = wave[int((2 * n + 0.5) * 48000) : int((2 * n + 1.5) * 48000)]
        assert np.argmax(np.abs(np.fft.rfft(middle))) == pytest.approx(hz, abs=2)
    pictures = {luma_of(frame).tobytes() for frame in display_frames(source, probe(source))}
    assert len(pictures) == 50 * len(parts)


def copy_with_wild_time(clip: Path, source: Path, index: int, at: int) -> None:
    """A copy in which one packet's time, of the stream `index`, is 300 s ahead."""
    with av.open(clip) as whole, av.open(source, "w") as copy:
        streams = [copy.add_stream_from_template(stream) for stream in whole.streams]
        count = 0
        for packet in whole.demux():
            if packet.dts is None:
                continue
            if packet.stream_index == index:
                if count == at:
                    packet.pts += 300_000
                count += 1
            packet.stream = streams[packet.stream_index]
            copy.mux(packet)


@pytest.mark.parametrize("at", [0, 30])
def test_one_wild_time_does_not_hold_a_picture(tmp_path: Path, at: int) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=60, sound_s=2.4, options={"bf": "0"})
    copy_with_wild_time(clip, tmp_path / "wild.mkv", 0, at)
    done = prepare(tmp_path / "wild.mkv")
    assert done.title.duration_s == pytest.approx(2.4, abs=0.05)
    assert any("restart or jump" in note for note in done.notes)


@pytest.mark.parametrize("at", [0, 40, -1])
def test_one_wild_time_of_sound_does_not_make_a_film_longer(tmp_path: Path, at: int) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=60, sound_s=2.4, options={"bf": "0"})
    with av.open(clip) as container:
        packets = sum(packet.size > 0 for packet in container.demux(audio=0))
    copy_with_wild_time(clip, tmp_path / "wild.mkv", 1, at % packets)
    footage = probe(tmp_path / "wild.mkv")
    assert footage.duration_s == pytest.approx(2.4, abs=0.1)
    assert footage.notes == ()


@pytest.mark.parametrize("last", [1, 5])
def test_a_last_picture_far_from_the_others_is_told_of(tmp_path: Path, last: int) -> None:
    """It may be a slide, or its time may be wrong: nobody can tell."""
    times_ms = [*range(0, 2000, 40), *(302_000 + 40 * index for index in range(last))]
    footage = probe(make_clip(tmp_path / "last.mkv", ticks=times_ms))
    assert footage.duration_s == pytest.approx(302, abs=0.3)
    assert any("stands for 300 s" in note for note in footage.notes)
    for count in (2, 8):
        slides = make_clip(tmp_path / f"{count}-slides.mkv", ticks=[90_000 * index for index in range(count)])
        assert probe(slides).notes == ()


def test_a_still_of_many_seconds_is_kept(tmp_path: Path) -> None:
    ticks = [*range(0, 1000, 40), *range(16000, 17000, 40)]
    for suffix in ("mkv", "ts"):
        source = make_clip(tmp_path / f"still.{suffix}", ticks=ticks, sound_s=17)
        assert probe(source).duration_s == pytest.approx(17, abs=0.1)
        assert probe(source).notes == ()


def test_pictures_spread_over_days_are_refused_at_once(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "days.mkv", ticks=[500_000 * n for n in range(600)])
    with pytest.raises(MediaError, match="would last 83 h"):
        prepare(source)
    assert list((tmp_path / "library").iterdir()) == []

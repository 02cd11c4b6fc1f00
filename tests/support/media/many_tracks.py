"""A film with several sounds and subtitles, as Matroska has them: each sound is a tone of its own from 1 s on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

TONES_HZ = (440, 880, 1320)
ENGLISH = """1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>, you & me

2
00:00:04,000 --> 00:00:06,000
The end
"""
CHAPTERS = """;FFMETADATA1
[CHAPTER]
TIMEBASE=1/1000
START=0
END=4000
title=The hello, “ä”
[CHAPTER]
TIMEBASE=1/1000
START=4000
END=9000
"""
GERMAN = ENGLISH.replace("Hello", "Hallo").replace("The end", "Schluss")


def write_film(path: Path, *, seconds: float = 5.0, drawn: str = "null", sounds: tuple[str, ...] = ()) -> Path:
    """English, German in 5.1 with a name, a French commentary; English subtitles, German ones for who cannot hear.

    Chapters from 0 and from 4 s on, the second without a name. drawn: what a filter of FFmpeg's does to the pictures.
    sounds: others than the tones, expressions of its aevalsrc with their layouts, in the order above.
    """
    english, german, chapters = (path.with_suffix(ending) for ending in (".en.srt", ".de.srt", ".chapters.txt"))
    chapters.write_text(CHAPTERS, encoding="utf-8")
    english.write_text(ENGLISH, encoding="utf-8")
    german.write_text(GERMAN, encoding="utf-8")
    first, second, third = (f"0.3*gte(t\\,1)*sin({hz}*2*PI*t)" for hz in TONES_HZ)
    sounds = sounds or (f"{first}:c=mono", "|".join([f"({second})/1.5"] * 6) + ":c=5.1", f"{third}:c=mono")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    command += ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d={seconds},{drawn}"]
    for sound in sounds:
        command += ["-f", "lavfi", "-i", f"aevalsrc={sound}:s=48000:d={seconds}"]
    command += ["-i", str(english), "-i", str(german), "-i", str(chapters)]
    command += [word for number in range(6) for word in ("-map", str(number))]
    command += ["-map_chapters", "6", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-c:s", "srt"]
    for stream, tag in (
        ("a:0", "language=eng"),
        ("a:1", "language=ger"),
        ("a:1", "title=Deutsche Fassung"),
        ("a:2", "language=fra"),
        ("s:0", "language=eng"),
        ("s:1", "language=ger"),
    ):
        command += [f"-metadata:s:{stream}", tag]
    command += ["-disposition:a:0", "default", "-disposition:a:2", "comment", "-disposition:s:1", "hearing_impaired"]
    subprocess.run([*command, str(path)], check=True)
    return path


def sound_of(film: Path, track: str, channels: int = 2) -> np.ndarray:
    """(samples, channels) of a sound of a title's folder, by the static ffmpeg."""
    folder = film / "audio" / track
    joined = b"".join(path.read_bytes() for path in [folder / "init.mp4", *sorted(folder.glob("seg-*"))])
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "-", "-f", "f32le", "-"]
    decoded = subprocess.run(command, input=joined, capture_output=True, check=True).stdout
    return np.frombuffer(decoded, np.float32).reshape(-1, channels)


def loudest_hz(samples: np.ndarray, rate_hz: int) -> float:
    """The frequency that a sound has most of."""
    power = np.abs(np.fft.rfft(samples))
    return float(np.argmax(power) * rate_hz / len(samples))

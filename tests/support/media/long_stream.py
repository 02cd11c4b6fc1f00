"""A source as long as one likes, far faster than it would be shown, and what is held of the stream made of it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from abr.core.title import segment_file
from server.media.live_title import load_live

EVERY_S, LASTS_S = 10, 0.4
"""A white picture and a tone, both at once, each so many seconds and for so long."""
SEGMENT_S, WINDOW_S = 2.0, 30.0
LADDER = ("--heights", "64", "--preset", "ultrafast", "--segment-seconds", str(SEGMENT_S), "--window", f"{WINDOW_S:g}s")


def source(duration_s: float, fps: int) -> tuple[str, ...]:
    """Arguments of `toprung live` for such a source."""
    now = f"lt(mod(t\\,{EVERY_S})\\,{LASTS_S})"
    pictures = f"color=black:s=114x64:r={fps}:d={duration_s:g},drawbox=c=white:t=fill:enable='{now}'"
    sound = f"aevalsrc='0.5*sin(2*PI*1000*t)*{now}':s=8000:d={duration_s:g}"
    return (f"{pictures}[out0];{sound}[out1]", "--format", "lavfi", "--measure-share", "0", *LADDER)


@dataclass(frozen=True, slots=True)
class Held:
    """A live title at one moment: numbers (0-based) of the segments in its playlists and on the disk."""

    listed: range
    stored: range
    disk_bytes: int


def held(folder: Path) -> Held | None:
    """What the folder of a live title holds; None when it is just being written.

    Raises AssertionError when a segment is missing, or stands in a playlist that it should not.
    """
    live = load_live(folder)
    parts = [part for kind in ("video", "audio") for part in sorted((folder / kind).iterdir())]
    stored = [[number for number in _numbers(part) if number < live.end] for part in parts]
    for part, numbers in zip(parts, stored, strict=True):
        assert numbers == list(range(numbers[0], live.end)), f"a segment of {part.name} is missing"
    playlists = [(folder / f"{part.name}.m3u8").read_text() for part in parts]
    listed = [[int(number) - 1 for number in re.findall(r"seg-([0-9]+)\.m4s", each)] for each in playlists]
    for numbers in listed:
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "a segment is not listed, or twice"
    if any(numbers != list(range(live.first_segment, live.end)) for numbers in listed) or stored[0] != stored[1]:
        return None
    return Held(
        listed=range(live.first_segment, live.end),
        stored=range(stored[0][0], live.end),
        disk_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def _numbers(part: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("seg-")) - 1 for path in part.glob("seg-*.m4s"))


def apart_s(folder: Path, segments: range) -> list[float]:
    """Of each white picture in those segments, how much later its tone begins.

    Raises AssertionError when there is no tone for a picture, or a segment does not begin where its number says.
    """
    end_s = segments[-1] * SEGMENT_S + SEGMENT_S - LASTS_S / 2  # sound may end a little later than the pictures
    lit, loud = (
        [at_s for at_s in found if at_s < end_s] for found in (_lit_s(folder, segments), _loud_s(folder, segments))
    )
    assert len(lit) == len(loud) > 0, (lit, loud)
    return [heard_s - seen_s for seen_s, heard_s in zip(lit, loud, strict=True)]


def _opened(folder: Path, part: str, segments: range) -> InputContainer:
    bodies = [(folder / part / segment_file(segment)).read_bytes() for segment in segments]
    return av.open(io.BytesIO((folder / part / "init.mp4").read_bytes() + b"".join(bodies)), "r")


def _lit_s(folder: Path, segments: range) -> Iterator[float]:
    before = True  # what is lit at the beginning began before
    with _opened(folder, "video/64p", segments) as container:
        for number, frame in enumerate(container.decode(video=0)):
            at_s = frame.time or 0.0
            if not number:
                assert abs(at_s - segments[0] * SEGMENT_S) < 1e-6, "a segment was doubled or is missing"
            is_lit = bool(frame.to_ndarray(format="gray").mean() > 128)
            if is_lit and not before:
                yield at_s
            before = is_lit


def _loud_s(folder: Path, segments: range) -> Iterator[float]:
    loud_s = float(segments[0] * SEGMENT_S)  # what is loud at the beginning began before
    with _opened(folder, "audio/audio", segments) as container:
        for frame in container.decode(audio=0):
            at = np.flatnonzero(np.abs(frame.to_ndarray()).max(axis=0) > 0.1)
            if at.size:
                first_s, last_s = ((frame.time or 0.0) + float(each) / frame.sample_rate for each in (at[0], at[-1]))
                if first_s - loud_s > 1.0:
                    yield first_s
                loud_s = last_s

"""How long this device takes to decode a frame in each codec, by clips that come along.

The clips (`clips/CODEC-HEIGHT.mp4`) are a second of the sample film as `prepare` encodes it by its defaults, at two
sizes; `tests/bench/write_decode_clips.py` makes them anew. They are decoded as players decode segments: in one thread,
with the codec's motion.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from abr.core.device import DecodeSpeed
from abr.errors import MediaError
from abr.media.video_codecs import VideoCodec
from enhancers.runtime.frames import decode_segment

FOLDER = Path(__file__).parent / "clips"
HEIGHTS_PX = (360, 720)
_CLIP_S = 0.12
"""Of measuring one clip; it is decoded once to warm up, and REPEATS_MIN times whatever it takes."""
REPEATS_MIN, REPEATS_MAX = 3, 20


def clip_file(codec: VideoCodec, height_px: int) -> Path:
    """An init segment and a media segment, one after the other."""
    return FOLDER / f"{codec}-{height_px}.mp4"


def measure_decoding(clock: Callable[[], float] = time.perf_counter) -> tuple[DecodeSpeed, ...]:
    """Of each codec that this machine decodes, at each size. clock: seconds."""
    found: list[DecodeSpeed] = []
    for codec in VideoCodec:
        try:
            found += [_measure(codec, clip_file(codec, height_px).read_bytes(), clock) for height_px in HEIGHTS_PX]
        except MediaError:  # a build of FFmpeg without this decoder
            continue
    return tuple(found)


def _measure(codec: VideoCodec, clip: bytes, clock: Callable[[], float]) -> DecodeSpeed:
    (width_px, height_px), _ = _decode(clip)
    frames_ms = sorted(_repeat(clip, clock))
    return DecodeSpeed(
        sample_entry=codec.in_band_entry,
        width_px=width_px,
        height_px=height_px,
        p50_ms=_rounded(np.percentile(frames_ms, 50)),
        p95_ms=_rounded(np.percentile(frames_ms, 95)),
    )


def _repeat(clip: bytes, clock: Callable[[], float]) -> Iterator[float]:
    """Milliseconds of a frame, by the mean of each time that the clip is decoded."""
    begun_s = clock()
    for repeat in range(REPEATS_MAX):
        if repeat >= REPEATS_MIN and clock() - begun_s > _CLIP_S:
            return
        before_s = clock()
        _, frames = _decode(clip)
        yield (clock() - before_s) * 1000 / frames


def _decode(clip: bytes) -> tuple[tuple[int, int], int]:
    """The pictures' size, and how many there are."""
    size_px, frames = (0, 0), 0
    for frame in decode_segment(clip, motion=True):
        size_px, frames = (frame.width_px, frame.height_px), frames + 1
    return size_px, frames


def _rounded(value_ms: np.floating) -> float:
    return max(0.001, round(float(value_ms), 3))


def describe_decoding(speeds: Sequence[DecodeSpeed]) -> Iterator[str]:
    """A line for each codec and size."""
    names = {codec.in_band_entry: codec.value for codec in VideoCodec}
    for each in speeds:
        yield (
            f"{f'decoding {names.get(each.sample_entry, each.sample_entry)}':<22}"
            f"{f'{each.width_px}x{each.height_px}':<10}p50 {each.p50_ms:6.1f} ms  p95 {each.p95_ms:6.1f} ms"
        )

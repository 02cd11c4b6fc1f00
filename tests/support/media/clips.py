"""Small source clips with the quirks of real ones, made on the spot by PyAV."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(width_px: int, height_px: int, index: int) -> np.ndarray:
    """RGB (H, W, 3): diagonal stripes that move, and the white corner square of a quarter of the height."""
    y, x = np.mgrid[:height_px, :width_px]
    stripes = ((x + y + 3 * index) // 8 % 2 * 60 + 40).astype(np.uint8)
    rgb = np.stack([stripes, np.roll(stripes, 5, 1), stripes[::-1]], axis=2)
    side = height_px // 4
    rgb[:side, :side] = 255
    return rgb


def make_clip(
    path: Path,
    *,
    width_px: int = 192,
    height_px: int = 108,
    rate: Fraction = Fraction(25),
    frames: int = 60,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    sound_s: float | None = None,
    sound_from_s: float = 0.0,
    rotation_deg: int = 0,
    pixel_format: str = "yuv420p",
    ticks: list[int] | None = None,
    paint: Callable[[int, int, int], np.ndarray] = picture,
) -> Path:
    """A moving pattern with a bright square in the coded picture's top left corner, or what `paint` makes of it.

    sound_s: seconds of a 440 Hz tone from sound_from_s on, or None for no sound.
    rotation_deg: display matrix, counterclockwise. ticks: presentation times in milliseconds instead of an even grid.
    """
    with av.open(path, "w") as container:
        video = container.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width_px, height_px, pixel_format
        video.codec_context.time_base = Fraction(1, 1000) if ticks else 1 / rate
        if rotation_deg:
            video.set_display_rotation(rotation_deg)
        sound = container.add_stream("aac", rate=44100) if sound_s else None
        for index in range(len(ticks) if ticks else frames):
            frame = av.VideoFrame.from_ndarray(paint(width_px, height_px, index), format="rgb24")
            frame.pts, frame.time_base = ticks[index] if ticks else index, video.codec_context.time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None and sound_s:
            for start in range(0, int(sound_s * 44100), 1024):
                container.mux(sound.encode(_tone(start, int(sound_from_s * 44100))))
            container.mux(sound.encode(None))
    return path


def _tone(start: int, delay: int) -> av.AudioFrame:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(start, start + 1024) / 44100)
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 44100, start + delay, Fraction(1, 44100)
    return frame

"""A program that publishes to `toprung live --listen`, as fast as it is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from clips import picture
from waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What is published. sound_hz: 0 for none. is_loud: a tone, or else silence. begin_s: of its timestamps.

    A publisher that is gone when FFmpeg acknowledges what it sent, after each 2.5 MB, loses what is still on its way:
    keep what is sent at once below that.
    """

    size_px: tuple[int, int] = (320, 180)
    rate: int = 25
    codec: str = "libx264"
    sound_hz: int = 48000
    is_loud: bool = False
    begin_s: int = 0


USUAL = Show()


def publish(port: int, frames: int, show: Show = USUAL) -> Iterator[int]:
    """Publish so many frames to the listener; yields each one's number."""
    url = f"rtmp://127.0.0.1:{port}/live/key"
    with av.open(url, "w", format="flv") as container:
        options = {"tune": "zerolatency", "preset": "ultrafast", "g": "25"} if show.codec == "libx264" else {"g": "25"}
        video = container.add_stream(show.codec, rate=show.rate, options=options)
        sound = container.add_stream("aac", show.sound_hz) if show.sound_hz else None
        assert isinstance(video, av.VideoStream) and (sound is None or isinstance(sound, av.AudioStream))
        (video.width, video.height), video.pix_fmt = show.size_px, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(*show.size_px, index), format="rgb24")
            frame.pts, frame.time_base = show.begin_s * show.rate + index, Fraction(1, show.rate)
            container.mux(video.encode(frame))
            for block in _blocks(index, show) if show.sound_hz else ():
                container.mux(sound.encode(_tone(block * 1024, show)) if sound is not None else [])
            yield index
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))


def taken(port: int, frames: int, show: Show = USUAL) -> Iterator[int]:
    """The same as soon as there is a listener; the first picture has been sent."""
    published: Iterator[int] = iter(())

    def is_taken() -> bool:
        nonlocal published
        published = publish(port, frames, show)
        try:
            return next(published) == 0
        except (OSError, av.error.FFmpegError):
            return False

    wait_until(is_taken, "the listener")
    return published


def _blocks(index: int, show: Show) -> range:
    """Of 1024 samples, that belong to a picture."""
    return range(index * show.sound_hz // show.rate // 1024, (index + 1) * show.sound_hz // show.rate // 1024)


def _tone(begin: int, show: Show) -> av.AudioFrame:
    wave = (0.3 if show.is_loud else 0.0) * np.sin(2 * np.pi * 440 * np.arange(begin, begin + 1024) / show.sound_hz)
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), "fltp", "stereo")
    frame.sample_rate, frame.time_base = show.sound_hz, Fraction(1, show.sound_hz)
    frame.pts = show.begin_s * show.sound_hz + begin
    return frame

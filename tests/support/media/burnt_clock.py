"""A live source with the wall clock in its pictures: `python burnt_clock.py > pipe` writes NUT at its own rate.

Each picture has a bar code across its top sixth: a white cell, a black one, the picture's number on the clock of the
wall (pictures since 1970, modulo 2^24) and a check. `play.js` reads it from what a viewer sees (`?clock=`).
"""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt

FPS = 25
WIDTH_PX, HEIGHT_PX = 640, 360
CELLS, NUMBER_BITS, CHECK_BITS = 32, 24, 6
STRIP = 6
"""The code's share of the height: one sixth."""
RATE_HZ = 48_000
FILM = Path(__file__).parents[3] / "client_player" / "sample" / "bbb_60s.mp4"
_BLACK, _WHITE, _GREY = 16, 235, 128


def code(number: int) -> list[bool]:
    """The cells of a number."""
    number %= 1 << NUMBER_BITS
    check = number % ((1 << CHECK_BITS) - 1)
    bits = [bool(number >> bit & 1) for bit in range(NUMBER_BITS)]
    return [True, False, *bits, *(bool(check >> bit & 1) for bit in range(CHECK_BITS))]


def read(luma: npt.NDArray[np.uint8], now_s: float) -> float:
    """Seconds since a picture with a code was taken, by its luma (H, W) and the time; NaN where it cannot be read."""
    height, width = luma.shape
    light = luma[height // STRIP // 2, width // CELLS // 2 :: width // CELLS][:CELLS].astype(int)
    bits = light > light[:2].mean()
    shown, check = (int(sum(1 << bit for bit in np.flatnonzero(part))) for part in np.split(bits[2:], [NUMBER_BITS]))
    if check != shown % ((1 << CHECK_BITS) - 1):
        return float("nan")
    return (now_s * FPS - shown) % (1 << NUMBER_BITS) / FPS


def burn(picture: npt.NDArray[np.uint8], number: int) -> None:
    """Draw the code of a number into a yuv420p picture, (height * 3 / 2, width)."""
    rows, chroma_rows = HEIGHT_PX // STRIP, HEIGHT_PX // STRIP // 4
    cells = np.where(code(number), _WHITE, _BLACK).astype(np.uint8)
    picture[:rows] = np.repeat(cells, WIDTH_PX // CELLS)
    for plane in (HEIGHT_PX, HEIGHT_PX * 5 // 4):
        picture[plane : plane + chroma_rows] = _GREY


def pictures(count: int = 10 * FPS) -> list[npt.NDArray[np.uint8]]:
    """Pictures of the sample film, to be shown again and again."""
    with av.open(str(FILM)) as film:
        frames = (frame.reformat(WIDTH_PX, HEIGHT_PX, "yuv420p") for frame in islice(film.decode(video=0), count))
        return [frame.to_ndarray().astype(np.uint8, copy=False) for frame in frames]


def broadcast(out: BinaryIO) -> None:
    """Write pictures and a tone for ever, each picture at its moment."""
    film = pictures()
    with av.open(out, "w", format="nut", options={"flush_packets": "1"}) as container:
        video = container.add_stream("rawvideo", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        samples = RATE_HZ // FPS
        tone = (3000 * np.sin(np.arange(samples) * 2 * np.pi * 440 / RATE_HZ)).astype(np.int16).reshape(1, -1)
        first, shown = int(time.time() * FPS) + 1, -1
        while True:  # a reader who makes it wait loses pictures, as with a camera
            index = max(shown + 1, int(time.time() * FPS) - first)
            time.sleep(max(0.0, (first + index) / FPS - time.time()))
            picture = film[index % len(film)].copy()
            burn(picture, first + index)
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            for each in range(shown + 1, index + 1):
                heard = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = RATE_HZ, each * samples, Fraction(1, RATE_HZ)
                container.mux(sound.encode(heard))
            container.mux(video.encode(frame))
            shown = index


if __name__ == "__main__":
    broadcast(sys.stdout.buffer)

"""Frames compressed by x264 as a ladder would."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av

from abr.media.display_filters import PIXEL_FORMAT
from enhancers.runtime.frames import Frame

_RATE = 25
_GROUP = 2 * _RATE


def compress(
    frames: Sequence[Frame],
    crf: float,
    *,
    preset: str = "medium",
    rate: tuple[int, int] = (_RATE, 1),
    b_frames: int = 3,
) -> bytes:
    """Encode frames of one size to an MP4 in memory: two-second closed groups, no scene cuts, as a ladder does."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(*rate))
        stream.width, stream.height, stream.pix_fmt = frames[0].width_px, frames[0].height_px, PIXEL_FORMAT
        stream.options = {
            "crf": str(crf),
            "preset": preset,
            "threads": "1",
            "bf": str(b_frames),
            "x264-params": f"keyint={_GROUP}:min-keyint={_GROUP}:scenecut=0:open-gop=0",
        }
        for index, frame in enumerate(frames):
            picture = frame.picture
            picture.pts, picture.time_base, picture.pict_type = index, Fraction(rate[1], rate[0]), 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file.getvalue()

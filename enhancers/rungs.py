"""Low rungs of any clip for training: scaled down, compressed by x264 as a ladder would, decoded again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from abr.quality import picture_box
from enhancers.base import PlainScaler
from enhancers.data import Pairs
from enhancers.frames import PIXEL_FORMAT, Frame, decode_segment

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


def rung_pairs(source: Sequence[Frame], scale: float, crf: float, *, height_max_px: int, keep: int) -> Pairs:
    """Training pairs of about `keep` of a film's frames, at `scale` below its own size.

    The film is first brought to at most `height_max_px`, and to a size that the scale divides.
    """
    height = min(source[0].height_px, height_max_px)
    width = source[0].width_px * height // source[0].height_px
    low_width, low_height = int(width / scale) & ~1, int(height / scale) & ~1
    shown = int(low_width * scale), int(low_height * scale)
    fit = PlainScaler(source[0].width_px, source[0].height_px, *shown)
    shrink = PlainScaler(source[0].width_px, source[0].height_px, low_width, low_height)
    decoded = list(decode_segment(compress([shrink.enhance(frame) for frame in source], crf)))
    grow = PlainScaler(low_width, low_height, *shown)
    kept = range(0, len(source), max(1, len(source) // keep))
    target = np.stack([fit.enhance(source[index]).y for index in kept])
    return Pairs(
        low=np.stack([decoded[index].y for index in kept]),
        plain=np.stack([grow.enhance(decoded[index]).y for index in kept]),
        target=target,
        box=picture_box(target),
    )

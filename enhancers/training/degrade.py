"""Low rungs of any clip for training: scaled down, compressed by x264 as a ladder would, decoded again."""

from __future__ import annotations

from collections.abc import Sequence

from abr.quality.vmaf import picture_box
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, decode_segment
from enhancers.training.patches import PairCollector, TrainingPairs


def make_rung_pairs(
    source: Sequence[Frame], scale: float, crf: float, *, height_max_px: int, keep: int
) -> TrainingPairs:
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
    collected = PairCollector()
    for index in kept:
        collected.add(decoded[index], grow.enhance(decoded[index]), fit.enhance(source[index]))
    return collected.pairs(picture_box)

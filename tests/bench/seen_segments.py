"""What segments look like at display size, whoever made them: VMAF and VMAF-NEG against the source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from abr.core.title import Quality, Title
from abr.media.planes import luma_of
from abr.media.source_frames import reference_frames
from abr.quality.vmaf import Luma, crop, is_black, score_pairs, segment_means
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import decode_segment


def shown(title: Title, segments: Iterable[bytes]) -> Iterator[Luma]:
    """The luma of each frame as a player shows it: upscaled plainly where it is not of display size.

    segments: init and media segment together.
    """
    scalers: dict[tuple[int, int], PlainScaler] = {}
    for data in segments:
        for frame in decode_segment(data):
            size = frame.width_px, frame.height_px
            if size not in scalers:
                scalers[size] = PlainScaler(*size, title.display_width_px, title.display_height_px)
            yield luma_of(scalers[size].enhance(frame).picture)


def score(title: Title, source: Path, lumas: Iterable[Luma]) -> Quality:
    """Mean scores of each segment of a title, all of whose frames are in `lumas`."""
    keep = np.ones(sum(title.segment_frames), dtype=np.bool_)

    def pairs() -> Iterator[tuple[Luma, Luma]]:
        for index, (reference, picture) in enumerate(zip(reference_frames(source, title), lumas, strict=False)):
            if index >= len(keep):
                return
            view = crop(luma_of(reference), title.meter.crop)
            keep[index] = not is_black(view)
            yield view, crop(picture, title.meter.crop)

    _, _, width_px, height_px = title.meter.crop
    every = title.meter.every_frames
    scores = score_pairs(pairs(), width_px=width_px, height_px=height_px, fps=title.fps, every_frames=every)
    return segment_means(scores, title.segment_frames, keep)


def score_all(title: Title, source: Path, found: Sequence[Sequence[bytes]]) -> list[dict[bytes, tuple[float, float]]]:
    """For each segment of a title (VMAF, VMAF-NEG) of each body that was found of it.

    Rows of bodies are put together to films, so that each is measured once and follows a segment as it was shown.
    """
    scores: list[dict[bytes, tuple[float, float]]] = [{} for _ in title.segment_frames]
    for row in range(max(map(len, found))):
        bodies = [each[min(row, len(each) - 1)] for each in found]
        quality = score(title, source, shown(title, bodies))
        for segment, body in enumerate(bodies):
            scores[segment].setdefault(body, (quality.vmaf[segment], quality.vmaf_neg[segment]))
    return scores

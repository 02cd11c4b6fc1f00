"""Training pairs of a prepared title."""

from __future__ import annotations

import numpy as np

from abr.core.title import Rendition
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame
from enhancers.training.patches import PairCollector, TrainingPairs

_PAIRS_BYTES_MAX = 1 << 30


def read_title_pairs(
    prepared: PreparedTitle, renditions: dict[str, float], *, frames_max: int
) -> dict[str, TrainingPairs]:
    """Training pairs of several renditions (id → network scale) in one pass over the source.

    At most `frames_max` frames are kept, fewer when memory would not do, spread evenly over the title.
    """
    title = prepared.title
    total = sum(title.segment_frames)
    frame_bytes = 3 * title.display_width_px * title.display_height_px * len(renditions)
    frames_max = max(1, min(frames_max, _PAIRS_BYTES_MAX // frame_bytes))
    kept = set(np.linspace(0, total - 1, min(frames_max, total)).astype(int).tolist())
    makers = {id_: _PairMaker(prepared, title.rendition(id_), scale) for id_, scale in renditions.items()}
    source = prepared.source_frames()
    first = 0
    for segment, count in enumerate(title.segment_frames):
        references = [next(source) for _ in range(count)]
        chosen = [index for index in range(count) if first + index in kept]
        for maker in makers.values() if chosen else ():
            decoded = prepared.frames(maker.rendition, segment)
            for index in chosen:
                maker.add(decoded[index], references[index])
        first += count
    return {id_: maker.pairs() for id_, maker in makers.items()}


class _PairMaker:
    """Collects the pairs of one rendition at its network's size."""

    def __init__(self, prepared: PreparedTitle, rendition: Rendition, scale: float) -> None:
        self.rendition = rendition
        width, height = int(rendition.width_px * scale), int(rendition.height_px * scale)
        self._grow = PlainScaler(rendition.width_px, rendition.height_px, width, height)
        self._fit = PlainScaler(*prepared.display_px, width, height)
        x, y, w, h = prepared.title.meter.crop
        across, down = width / prepared.display_px[0], height / prepared.display_px[1]
        self._box = (round(x * across), round(y * down), int(w * across), int(h * down))
        self._collected = PairCollector()

    def add(self, decoded: Frame, reference: Frame) -> None:
        self._collected.add(decoded, self._grow.enhance(decoded), self._fit.enhance(reference))

    def pairs(self) -> TrainingPairs:
        return self._collected.pairs(lambda _target: self._box)

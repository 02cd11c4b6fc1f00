"""A title's segment compressed anew to a given number of bytes: what else these bits could show."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from av.video.reformatter import VideoReformatter

from abr.core.title import Rendition
from enhancers.measurement.ladder_planner import PRESET, scale_down
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.encode import compress
from enhancers.runtime.frames import Frame, decode_segment

_CRF_MIN, _CRF_MAX, _CRF_STEP = 12.0, 51.0, 0.25


class Squeezer:
    """Compresses segments of a title's source at another size. The source's frames of one segment are held."""

    def __init__(self, prepared: PreparedTitle) -> None:
        self._prepared = prepared
        self._held: tuple[int, list[Frame]] = -1, []

    def frames(self, rendition: Rendition, segment: int, bytes_max: int) -> list[Frame]:
        """The segment at this rendition's size in at most so many bytes, decoded; coarsest where that is too few."""
        scaler, size_px = VideoReformatter(), (rendition.width_px, rendition.height_px)
        small = [scale_down(scaler, frame, size_px) for frame in self._source_frames(segment)]

        def encode(crf: float) -> bytes:
            return compress(small, crf, preset=PRESET, rate=self._prepared.title.frame_rate, b_frames=0)

        return list(decode_segment(encode(find_crf(lambda crf: len(encode(crf)), bytes_max))))

    def _source_frames(self, segment: int) -> list[Frame]:
        if self._held[0] != segment:
            counts = self._prepared.title.segment_frames
            start = sum(counts[:segment])
            self._held = segment, list(islice(self._prepared.source_frames(), start, start + counts[segment]))
        return self._held[1]


def find_crf(size_of: Callable[[float], int], bytes_max: int) -> float:
    """The finest CRF whose size is at most `bytes_max`, to a quarter; the coarsest where none is."""
    low, high = 0, round((_CRF_MAX - _CRF_MIN) / _CRF_STEP)
    while low < high:
        middle = (low + high) // 2
        if size_of(_CRF_MIN + middle * _CRF_STEP) <= bytes_max:
            high = middle
        else:
            low = middle + 1
    return _CRF_MIN + low * _CRF_STEP

"""Whether pictures that call themselves interlaced are: progressive film is often flagged so, and would be blurred.

The measure of FFmpeg's filter `idet`: put every line of a picture between its neighbours as it was one picture before,
or is one after. Of fields that were taken one after the other, one way fits much better than the other. Of whole
pictures both ways fit alike, and less well than the line itself. What stands still says nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_WIDTH_PX = 256
"""Lines are narrowed to this: only their order matters."""
_INTERLACED_RATIO, _PROGRESSIVE_RATIO = 1.08, 1.5
"""Near the filter's own thresholds, 1.04 and 1.5; it asks for the first one first, and takes patterns for fields."""
_SHARE_MIN = 0.02
"""Material with a smaller share of interlaced pictures is progressive; the measure errs at times."""
_SAMPLES_MAX = 256

Luma = npt.NDArray[np.int16]


class InterlaceMeter:
    """Hears of every picture of a stream, and looks at some of those that are flagged."""

    def __init__(self) -> None:
        self.flagged = 0
        self._votes = {"interlaced": 0, "progressive": 0}
        self._samples = 0
        self._every = 1
        self._skip = 0
        self._last: deque[Luma] = deque(maxlen=3)

    def add(self, frame: VideoFrame) -> None:
        """Count a picture. Each third picture of three flagged ones in a row tells of the one in the middle."""
        if not frame.interlaced_frame:
            self._last.clear()
            return
        self.flagged += 1
        if self._skip:
            self._skip -= 1
            return
        lines: npt.NDArray[Any] = frame.reformat(_WIDTH_PX, frame.height, "gray").to_ndarray()
        if self._last and self._last[-1].shape != lines.shape:
            self._last.clear()
        self._last.append(lines.astype(np.int16))
        if len(self._last) == 3:
            self._look()

    @property
    def is_interlaced(self) -> bool:
        """Whether the stream should be deinterlaced. Where nothing moves, its flags are believed."""
        interlaced, progressive = self._votes["interlaced"], self._votes["progressive"]
        if interlaced + progressive == 0:
            return self.flagged > 0
        return interlaced >= _SHARE_MIN * (interlaced + progressive)

    def _look(self) -> None:
        vote = _vote(*self._last)
        if vote:
            self._votes[vote] += 1
        self._samples += 1
        self._last.clear()
        if self._samples % _SAMPLES_MAX == 0:  # a long film is looked at more and more seldom
            self._every *= 2
        self._skip = 3 * (self._every - 1)


def _vote(before: Luma, here: Luma, after: Luma) -> str:
    """`interlaced` or `progressive`; nothing when it cannot be told."""
    second = np.arange(1, here.shape[0] - 1) % 2 == 1
    from_before, from_after = _roughness(before, here), _roughness(after, here)
    one_way = float(from_before[~second].sum() + from_after[second].sum())
    other_way = float(from_after[~second].sum() + from_before[second].sum())
    itself = float(_roughness(here, here).sum())
    better, worse = min(one_way, other_way), max(one_way, other_way)
    if better > _PROGRESSIVE_RATIO * itself:
        return "progressive"
    return "interlaced" if worse > _INTERLACED_RATIO * better else ""


def _roughness(lines: Luma, around: Luma) -> npt.NDArray[np.int64]:
    """How badly each of `lines` fits between its neighbours in `around`: (H - 2,)."""
    bent = np.abs(around[:-2] + around[2:] - 2 * lines[1:-1])
    total: npt.NDArray[np.int64] = bent.sum(axis=1, dtype=np.int64)
    return total

"""A source lifted above itself: each frame by the network that the kernel track's code folds to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from abr.blur.kernel import Code, bicubic_kernel, code_of
from abr.blur.survey import is_sharp
from abr.blur.track import KernelTrack
from enhancers.networks.catalog import generic_chunks
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.restoration.conditioned import ConditionedWeights, fold
from enhancers.runtime.enhancer import Enhancer
from enhancers.runtime.frames import Frame
from enhancers.runtime.loader import open_weights

BACKEND = "openvino-fp32"
"""Folded weights are not calibrated for eight bits."""
FOLDED_FROM = 0.02
"""How far any float of a code has to move for the network to be folded anew: it takes longer than a frame."""
_CODE_DIGITS = 3


def weights_for(network: ConditionedWeights, code: Code) -> Weights:
    """What lifts pictures of this code: the network told of it, or the generic one where they are sharp."""
    if is_sharp(code):
        return loads_chunks(generic_chunks(network.architecture))
    return fold(network, code)


class TrackedEnhancer:
    """Lifts frames of one size to the display, in order, by the codes of a kernel track."""

    def __init__(
        self, network: ConditionedWeights, track: KernelTrack, size_px: tuple[int, int], display_px: tuple[int, int]
    ) -> None:
        self._network, self._track = network, track
        self._size_px, self._display_px = size_px, display_px
        self._untold = code_of(bicubic_kernel(int(network.architecture.scale)), int(network.architecture.scale))
        self._held: Code = ()
        self._enhancer: Enhancer | None = None

    def lift(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The track's frames from the first on, at display size."""
        for index, frame in enumerate(frames):
            yield self._enhancer_for(self._track.code_at(index) or self._untold).enhance(frame)

    def _enhancer_for(self, code: Code) -> Enhancer:
        if self._enhancer is None or np.abs(np.subtract(code, self._held)).max() > FOLDED_FROM:
            self._held = tuple(round(value, _CODE_DIGITS) for value in code)
            weights = weights_for(self._network, self._held)
            self._enhancer = open_weights(
                weights, "", size_px=self._size_px, display_px=self._display_px, backend=BACKEND
            )
        return self._enhancer

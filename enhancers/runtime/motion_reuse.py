"""Some frames through the network, the others with the gain of the frame before, carried along the codec's motion.

After NEMO (MobiCom 2020): the network's work is spent on anchors. What is carried is the gain, the network's picture
less the plain one, so that whatever is new in a frame is at worst shown plain and nothing old ever stays. Chroma is
lifted on every frame: its part of a network costs no more than carrying would.
"""

from __future__ import annotations

import numpy as np

from abr.media.planes import Plane, luma_of
from enhancers.runtime.backends.residual import Adder
from enhancers.runtime.enhancer import check_size
from enhancers.runtime.frames import Frame
from enhancers.runtime.motion import MotionCompensator, MotionFollower
from enhancers.runtime.network_enhancer import NetworkEnhancer

NEW_MAX = 0.5
"""Share of blocks without known motion above which a frame is an anchor."""


CARRIED_SHARE = 0.97
"""Share of a carried gain that each further frame shows. What was carried is less sure than what was computed (Wiener:
it is worth its correlation with the truth), and sharpness in the wrong place costs more than it shows."""


class MotionReuseEnhancer:
    """An enhancer that runs its network on anchors only. Frames in display order, decoded with their motion.

    An anchor: every `every`-th frame, a key frame, one that does not follow the frame before it, and one mostly new. So
    what a frame shows depends on at most `every` frames before it, and errors cannot add up over more.
    """

    def __init__(self, full: NetworkEnhancer, scale: float, every: int, add: Adder) -> None:
        self.descriptor = full.descriptor
        self._full, self._every, self._add = full, every, add
        width_px, height_px = full.descriptor.width_px, full.descriptor.height_px
        self._gain = MotionCompensator(width_px, height_px, scale)
        self._difference = np.empty(self._gain.field.shape, np.int16)
        self._age = 0
        self._follower = MotionFollower()

    def enhance(self, frame: Frame) -> Frame:
        """See Enhancer. Frames must come in the order in which they are shown."""
        check_size(frame, self.descriptor)
        motion = self._follower.motion_to(frame.picture)
        picture = self._full.upscale(frame)
        luma = luma_of(picture)
        if motion is None or self._age >= self._every or np.mean(motion.known) < 1 - NEW_MAX:
            self._anchor(frame, luma)
        else:
            self._age += 1
            self._gain.carry(motion)
            self._add(luma, self._gain.field, luma, CARRIED_SHARE ** (self._age - 1))
        self._full.lift_chroma(frame, picture)
        return self._full.scale_to_display(picture)

    def _anchor(self, frame: Frame, luma: Plane) -> None:
        plain = luma.copy()
        self._full.lift(frame, luma)
        np.subtract(luma, plain, out=self._difference, dtype=np.int16)
        self._gain.begin(np.clip(self._difference, -128, 127, out=self._difference))
        self._age = 1

"""How much of a carried gain is left after each step, for every frame: from what one exit adds to neighbouring frames.

What the cheapest exit added to the frame before, moved along the codec's motion, is compared with what it adds to the
frame itself: their correlation says how well the frame before knows this one. A meter sees less of the loss than
pixels do, for all exits alike: the share of the points that is left is a power of the correlation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from abr.core.arrays import Floats
from abr.media.planes import luma_of
from enhancers.runtime.frames import Frame
from enhancers.runtime.motion import MotionCompensator, MotionFollower
from enhancers.runtime.motion_reuse import NEW_MAX
from enhancers.runtime.network_enhancer import NetworkEnhancer

KEPT_POWER = 0.22
"""Fitted to VMAF-NEG of carried frames of the sample film: 0.18 for the lightest exit to 0.24 for the deepest."""
_SAMPLED = 2
"""Every second line and column is looked at."""

_Residual = npt.NDArray[np.int8]


def measure_kept(frames: Sequence[Frame], network: NetworkEnhancer, scale: float) -> Floats:
    """(F,) the share, 0 to 1, that is left of a carried gain after the step to each frame of a segment.

    0 where nothing can be carried: to the first frame, to key frames, and to frames that are mostly new.
    network: the cheapest exit, opened for these frames. They must be decoded with their motion.
    """
    info = network.descriptor
    carrier = MotionCompensator(info.width_px, info.height_px, scale)
    follower, kept = MotionFollower(), np.zeros(len(frames))
    for number, frame in enumerate(frames):
        added = _added_by(network, frame)
        motion = follower.motion_to(frame.picture)
        if number and motion is not None and np.mean(motion.known) >= 1 - NEW_MAX:
            carrier.carry(motion)
            kept[number] = _correlation(carrier.field, added) ** KEPT_POWER
        carrier.begin(added)
    return kept


def _added_by(network: NetworkEnhancer, frame: Frame) -> _Residual:
    luma = luma_of(network.upscale(frame))
    plain = luma.copy()
    network.lift(frame, luma)
    difference = np.subtract(luma, plain, dtype=np.int16)
    return np.clip(difference, -128, 127).astype(np.int8)


def _correlation(carried: _Residual, added: _Residual) -> float:
    """0 to 1; 1 where neither shows anything, since nothing is lost then."""
    some = (field[::_SAMPLED, ::_SAMPLED].astype(np.float32).ravel() for field in (carried, added))
    a, b = some
    power = float(np.sqrt((a @ a) * (b @ b)))
    return 1.0 if power == 0 else max(0.0, float(a @ b) / power)

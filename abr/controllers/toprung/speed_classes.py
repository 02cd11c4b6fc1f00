"""Classes of devices by speed alone, whatever the title: what operators are told of, where plans know finer ones.

`device_classes` sorts devices by what each option of one title costs them, in steps of COST_STEP. Here the same steps
are taken on one piece of work that nearly every profile tells of: the network of tier low lifts a frame of 640×360.
"""

from __future__ import annotations

from enum import StrEnum

from abr.controllers.toprung.device_classes import COST_STEP
from abr.core.device import DeviceProfile

REFERENCE_PX = (640, 360)
REFERENCE_WORK = {"plain-m2c32x2d2": 1.0, "plain-m2c32x1.5d2": 0.92, "plain-m2c32x3": 3.52, "plain-m2c32x4": 3.86}
"""Tier low at each scale, the usual one first, and its multiplications for a frame over those at ×2."""
VIDEO_FPS = 24.0


class SpeedClass(StrEnum):
    """How many frames a second a device lifts at least, slowest first; each class is COST_STEP as fast as the last."""

    UNMEASURED = "unmeasured"
    """No profile, or none that tells of tier low."""
    SLOW = "slow"
    """Less than 6."""
    FPS_6 = "6fps"
    FPS_24 = "24fps"
    FPS_96 = "96fps"
    FPS_384 = "384fps"


_BY_STEP = (SpeedClass.SLOW, SpeedClass.FPS_6, SpeedClass.FPS_24, SpeedClass.FPS_96, SpeedClass.FPS_384)
FPS_LEAST = {each: VIDEO_FPS * COST_STEP ** (step - 2) for step, each in enumerate(_BY_STEP) if step}
"""Frames a second that a device of a class lifts at least."""


def reference_ms(profile: DeviceProfile | None) -> float | None:
    """Milliseconds (95th percentile) that the reference work takes the device; None where nothing tells.

    Measured at the first scale of REFERENCE_WORK that the profile knows, and reckoned from it by multiplications.
    """
    for architecture, times in REFERENCE_WORK.items():
        best = profile.best(architecture, *REFERENCE_PX) if profile is not None else None
        if best is not None:
            return best.p95_ms / times
    return None


def speed_class(frame_ms: float | None) -> SpeedClass:
    """The class of a device that the reference work takes so long."""
    if frame_ms is None:
        return SpeedClass.UNMEASURED
    reached = [each for each, fps in FPS_LEAST.items() if 1000 / frame_ms >= fps]
    return reached[-1] if reached else SpeedClass.SLOW

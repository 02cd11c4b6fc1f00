"""An enhancer that is told for each frame what to do: nothing, carry the gain of the frame before, or run to an exit.

What is carried is what the network added to luma and chroma, along the codec's motion, as in `motion_reuse`; but when
to compute anew is said by a frame plan (`abr.core.frame_plan`), or by whoever has less time than it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import av
import numpy as np

from abr.core.frame_plan import Action
from abr.media.planes import Plane, planes_of
from enhancers.runtime.backends.residual import Adder
from enhancers.runtime.enhancer import check_size
from enhancers.runtime.frames import Frame
from enhancers.runtime.motion import Motion, MotionCompensator, MotionFollower
from enhancers.runtime.motion_reuse import CARRIED_SHARE, NEW_MAX
from enhancers.runtime.network_enhancer import NetworkEnhancer

MakeAdder = Callable[[int, int], Adder]
"""(width, height) of planes → what adds to them."""


class PlannedEnhancer:
    """The exits of one network, cheapest first, opened for frames of one size. Frames come in display order.

    scale: of the network. shown_px: width and height of its picture. Frames must be decoded with their motion.
    """

    def __init__(
        self, exits: Sequence[NetworkEnhancer], scale: float, shown_px: tuple[int, int], make_adder: MakeAdder
    ) -> None:
        self._exits = tuple(exits)
        info = exits[-1].descriptor
        self.descriptor = replace(info, name=f"{info.name} by plan")
        self._follower = MotionFollower()
        size_px = info.width_px, info.height_px
        half_px = (shown_px[0] + 1) // 2, (shown_px[1] + 1) // 2
        chroma = 2 if exits[-1].lifts_chroma else 0
        self._planes = [
            _CarriedPlane(size_px, scale, shown_px, make_adder),
            *(_CarriedPlane(size_px, scale / 2, half_px, make_adder) for _ in range(chroma)),
        ]
        self._age: int | None = None
        """Frames since the gain was computed; None when there is none to be carried."""

    def enhance(self, frame: Frame) -> Frame:
        """See Enhancer: the deepest exit."""
        return self.perform(frame, Action.FIRST_EXIT + len(self._exits) - 1)[0]

    def perform(self, frame: Frame, action: int) -> tuple[Frame, int]:
        """The frame at display size, and what was done: nothing where nothing could be carried.

        Every frame must pass here once, in display order. Raises ValueError for an action that is none.
        """
        plain = self._exits[0]
        check_size(frame, self.descriptor)
        if not 0 <= action < Action.FIRST_EXIT + len(self._exits):
            raise ValueError(f"{self.descriptor.name} has no action {action}")
        motion = self._follower.motion_to(frame.picture)
        picture = plain.upscale(frame)
        if action >= Action.FIRST_EXIT:
            self._compute(self._exits[action - Action.FIRST_EXIT], frame, picture)
        elif action == Action.CARRY and motion is not None and self._can_carry(motion):
            self._carry(motion, planes_of(picture))
        else:
            action, self._age = int(Action.NOTHING), None
        return plain.scale_to_display(picture), action

    def _can_carry(self, motion: Motion) -> bool:
        return self._age is not None and bool(np.mean(motion.known) >= 1 - NEW_MAX)

    def _compute(self, network: NetworkEnhancer, frame: Frame, picture: av.VideoFrame) -> None:
        planes = planes_of(picture)[: len(self._planes)]
        before = [plane.copy() for plane in planes]
        network.lift(frame, planes[0])
        network.lift_chroma(frame, picture)
        for carried, lifted, plain in zip(self._planes, planes, before, strict=True):
            carried.keep(lifted, plain)
        self._age = 0

    def _carry(self, motion: Motion, planes: Sequence[Plane]) -> None:
        assert self._age is not None
        share = CARRIED_SHARE**self._age
        self._age += 1
        for carried, plane in zip(self._planes, planes, strict=False):
            carried.add(motion, plane, share)


class _CarriedPlane:
    """What the network added to one plane of the last frame. scale: from luma of the frame to this plane as shown."""

    def __init__(
        self, size_px: tuple[int, int], scale: float, shown_px: tuple[int, int], make_adder: MakeAdder
    ) -> None:
        self._gain = MotionCompensator(*size_px, scale, shown_px)
        self._difference = np.empty((shown_px[1], shown_px[0]), np.int16)
        self._add = make_adder(*shown_px)

    def keep(self, lifted: Plane, plain: Plane) -> None:
        np.subtract(lifted, plain, out=self._difference, dtype=np.int16)
        self._gain.begin(np.clip(self._difference, -128, 127, out=self._difference))

    def add(self, motion: Motion, plane: Plane, share: float) -> None:
        self._gain.carry(motion)
        self._add(plane, self._gain.field, plane, share)

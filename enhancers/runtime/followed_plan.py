"""A frame plan that is followed: importable where nothing is installed that could run a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abr.core.frame_plan import Action, FramePlan
from enhancers.runtime.frames import Frame

if TYPE_CHECKING:
    from enhancers.runtime.planned import PlannedEnhancer


class FollowedPlan:
    """A planned enhancer together with the plan that it is to follow."""

    def __init__(self, enhancer: PlannedEnhancer, plan: FramePlan) -> None:
        self._enhancer, self._plan = enhancer, plan
        self.descriptor = enhancer.descriptor

    def planned_action(self, segment: int, number: int) -> int:
        """What the plan says of frame `number` of a segment; nothing for frames that it does not know."""
        actions = self._plan.actions[segment] if segment < len(self._plan.actions) else ()
        return int(actions[number]) if number < len(actions) else int(Action.NOTHING)

    def perform(self, frame: Frame, action: int) -> tuple[Frame, int]:
        """See PlannedEnhancer."""
        return self._enhancer.perform(frame, action)

    def enhance(self, frame: Frame) -> Frame:
        """See Enhancer: the deepest exit."""
        return self._enhancer.enhance(frame)

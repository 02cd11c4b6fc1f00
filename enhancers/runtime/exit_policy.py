"""What to compute for each frame where no plan says it: from the codec's motion, which is free. Pure.

Two small parts, learnt offline and meant for films that nobody has seen before:

- `forecast_kept`: how much of a carried gain is left after the step to a frame, from the frame's motion alone.
- `ExitPolicy`: when to compute anew, and how deep. The best cycle of an anchor and its carried frames is that of the
  most points a frame that the budget pays for (renewal-reward theorem: Ross, Stochastic Processes, 3.6). An anchor is
  due when less is left of its gain than at the end of that cycle, however many frames that takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from abr.core.arrays import Truths
from abr.core.frame_plan import Action
from enhancers.runtime.motion import Motion
from enhancers.runtime.motion_reuse import NEW_MAX

GAINS = (1.0, 1.17, 1.25)
"""What exits bring, in gains of the cheapest one."""
AGE_MAX = 23
"""Frames that may carry one anchor's gain, as `enhancers.planning.solver` has it."""
_LOSS = {"step": 0.008, "new": 0.12, "pixels": 0.0, "unlike": 0.012}
"""Of the logarithm of what is kept: a step's own, of the share of new blocks, of a pixel of motion, of a pixel by which
neighbouring vectors differ. Fitted by tests/bench/fit_exit_policy.py."""
_MEMORY = 24
"""Frames over which what is kept is averaged, to choose the cycle."""
_SAVED_FRAMES = 48
"""Frames' budget that may be saved up."""
_QUARTERS = 4


def motion_signs(motion: Motion) -> tuple[float, float, float]:
    """(new, pixels, unlike): the share of new blocks; of the others mean motion, and how far neighbours differ, px."""
    known = motion.known
    if not known.any():
        return 1.0, 0.0, 0.0
    right, down = motion.right / _QUARTERS, motion.down / _QUARTERS
    unlike = [np.abs(np.diff(part, axis=axis))[_both(known, axis)] for part in (right, down) for axis in (0, 1)]
    differences = np.concatenate(unlike)
    return (
        float(1 - known.mean()),
        float(np.hypot(right, down)[known].mean()),
        float(differences.mean()) if len(differences) else 0.0,
    )


def _both(known: Truths, axis: int) -> Truths:
    """Where neighbours along an axis are both known."""
    last = known.shape[axis] - 1
    return np.take(known, range(last), axis=axis) & np.take(known, range(1, last + 1), axis=axis)


def forecast_kept(motion: Motion | None) -> float:
    """The share, 0 to 1, that should be left of a carried gain after the step to a frame; 0 where nothing is carried.

    motion: of the frame; None for a key frame, and for one that does not follow the frame before.
    """
    if motion is None:
        return 0.0
    new, pixels, unlike = motion_signs(motion)
    if new > NEW_MAX:
        return 0.0
    lost = _LOSS["step"] + _LOSS["new"] * new + _LOSS["pixels"] * pixels + _LOSS["unlike"] * unlike
    return float(np.exp(-lost))


@dataclass(slots=True, kw_only=True)
class ExitPolicy:
    """Chooses each frame's action within a budget.

    exit_costs, carry_cost: of one unit, cheapest exit first. budget: units a frame, in the mean. gains: of the exits.
    """

    exit_costs: Sequence[float]
    carry_cost: float
    budget: float
    gains: Sequence[float] = GAINS
    _left: float = 0.0
    """The share that is left of the last anchor's gain; 0 when there is none."""
    _age: int = 0
    _saved: float = 0.0
    _usual: float = 0.97
    _cycles: dict[int, tuple[int, int]] = field(default_factory=dict)

    def decide(self, kept: float) -> int:
        """The action of the next frame. kept: `forecast_kept` of it."""
        self._saved = min(self._saved + self.budget, max(self._saved, _SAVED_FRAMES * self.budget))
        if kept > 0:
            self._usual += (kept - self._usual) / _MEMORY
        exit_, length = self._best_cycle()
        left = self._left * kept
        carries = self._age < AGE_MAX and left > 0 and left >= self._usual**length
        needed = self.exit_costs[exit_] + length * max(0.0, self.carry_cost - self.budget)
        if not carries and self._saved >= needed:  # enough for the whole cycle
            return self._spend(self.exit_costs[exit_], 1.0, 0, Action.FIRST_EXIT + exit_)
        if carries and self._saved >= self.carry_cost:
            return self._spend(self.carry_cost, left, self._age + 1, Action.CARRY)
        return self._spend(0.0, 0.0, 0, Action.NOTHING)

    def lowered(self) -> None:
        """The last frame was shown plain: there is nothing to carry any more."""
        self._left = 0.0

    def _spend(self, cost: float, left: float, age: int, action: int) -> int:
        self._saved, self._left, self._age = self._saved - cost, left, age
        return int(action)

    def _best_cycle(self) -> tuple[int, int]:
        """(exit, carried frames) of the cycle with the most points a frame that the budget pays for."""
        usual = min(99, max(50, round(self._usual * 100)))
        if usual not in self._cycles:
            lengths = np.arange(AGE_MAX + 1)
            shown = (1 - (usual / 100) ** (lengths + 1)) / (1 - usual / 100)
            costs = np.array(self.exit_costs)[:, None] + lengths * self.carry_cost
            frames = np.maximum(lengths + 1, costs / max(self.budget, 1e-9))
            points = np.array(self.gains[: len(self.exit_costs)])[:, None] * shown / frames
            exit_, length = np.unravel_index(int(points.argmax()), points.shape)
            self._cycles[usual] = int(exit_), int(length)
        return self._cycles[usual]

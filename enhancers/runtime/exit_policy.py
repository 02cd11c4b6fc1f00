"""What to compute for each frame where no plan says it: from the codec's motion, which is free. Pure.

Two small parts, learnt offline and meant for films that nobody has seen before:

- `forecast_kept`: how much of a carried gain is left after the step to a frame, from the frame's motion alone.
  A film differs from the usual one, so whoever computes an anchor may tell what was really left (`learn`).
- `ExitPolicy`: when to compute anew, and how deep. The best cycle of an anchor and its carried frames is that of the
  most points a frame that the budget pays for (renewal-reward theorem: Ross, Stochastic Processes, 3.6). An anchor is
  due when less is left of its gain than at the end of that cycle, however many frames that takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from abr.core.frame_plan import Action
from enhancers.runtime.motion import Motion
from enhancers.runtime.motion_reuse import NEW_MAX

GAINS = (1.0, 1.17, 1.25)
"""What exits bring, in gains of the cheapest one."""
AGE_MAX = 23
"""Frames that may carry one anchor's gain, as `enhancers.planning.solver` has it."""
LOSS_STEP, LOSS_PIXEL = 0.022, 0.016
"""Of the logarithm of what is kept: a step's own, and that of a pixel of motion. Fitted to three clips by
tests/bench/fit_exit_policy.py; new blocks and unruly motion told nothing more."""
_MEMORY = 24
"""Frames over which what is kept is averaged, to choose the cycle."""
_SAVED_FRAMES = 48
"""Frames' budget that may be saved up."""
_LEARNT = 0.5
"""How much of what one anchor tells is believed."""
_LOSS_TIMES = (0.1, 10.0)
_CARRIED_DOUBT = 0.97
"""What is computed for every frame is sure; what is carried must promise more."""
_LEFT_MIN = 0.02
_QUARTERS = 4


def mean_motion_px(motion: Motion) -> float:
    """How far the blocks that the frame before knows have moved, in the mean."""
    known = motion.known
    return float(np.hypot(motion.right, motion.down)[known].mean()) / _QUARTERS if known.any() else 0.0


def forecast_kept(motion: Motion | None) -> float:
    """The share, 0 to 1, that should be left of a carried gain after the step to a frame; 0 where nothing is carried.

    motion: of the frame; None for a key frame, and for one that does not follow the frame before.
    """
    if motion is None or motion.known.mean() < 1 - NEW_MAX:
        return 0.0
    return float(np.exp(-LOSS_STEP - LOSS_PIXEL * mean_motion_px(motion)))


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
    _loss_times: float = 1.0
    """How much more of a gain is lost with each step than is forecast."""
    _cycles: dict[int, tuple[int, int]] = field(default_factory=dict)

    def decide(self, kept: float) -> int:
        """The action of the next frame. kept: `forecast_kept` of it."""
        kept **= self._loss_times
        self._saved = min(self._saved + self.budget, max(self._saved, _SAVED_FRAMES * self.budget))
        if kept > 0:
            self._usual += (kept - self._usual) / _MEMORY
        exit_, length = self._best_cycle()
        left = self._left * kept
        carries = self._age < AGE_MAX and left > 0 and left >= self._usual**length
        needed = self.exit_costs[exit_] + length * max(0.0, self.carry_cost - self.budget)
        if not carries and self._saved >= needed:  # enough for the whole cycle
            return self._spend(self.exit_costs[exit_], 1.0, 0, Action.FIRST_EXIT + exit_)
        if not carries and self.exit_costs[0] <= min(self.budget, self._saved):  # a lighter one rather than none
            exit_ = max(each for each, cost in enumerate(self.exit_costs[: exit_ + 1]) if cost <= self._saved)
            return self._spend(self.exit_costs[exit_], 1.0, 0, Action.FIRST_EXIT + exit_)
        waits = left > 0 and self._age < AGE_MAX and self.budget > self.carry_cost
        if (carries or waits) and self._saved >= self.carry_cost:
            return self._spend(self.carry_cost, left, self._age + 1, Action.CARRY)
        return self._spend(0.0, 0.0, 0, Action.NOTHING)

    def learn(self, expected: float, found: float) -> None:
        """What was left of an anchor's gain when the next was computed: as forecast steps multiply to, and really.

        Both above 0, at most 1. Forecasts of later frames lose that much more or less.
        """
        if expected < 1:
            times = np.log(max(found, _LEFT_MIN)) / np.log(max(expected, _LEFT_MIN))
            step = np.clip(np.log(max(times, 1e-3)) - np.log(self._loss_times), -1, 1)
            self._loss_times = float(np.clip(self._loss_times * np.exp(_LEARNT * step), *_LOSS_TIMES))

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
            points[:, 1:] *= _CARRIED_DOUBT
            exit_, length = np.unravel_index(int(points.argmax()), points.shape)
            self._cycles[usual] = int(exit_), int(length)
        return self._cycles[usual]


def choose_actions(policy: ExitPolicy, forecast: Sequence[float], kept: Sequence[float]) -> Iterator[int]:
    """The policy's actions for some frames. With each anchor it is told what was left of the one before.

    forecast: `forecast_kept` of each frame. kept: what is really left after the step to each.
    """
    expected = found = 0.0
    for foretold, share in zip(forecast, kept, strict=True):
        action = policy.decide(foretold)
        expected, found = expected * foretold, found * share
        if action >= Action.FIRST_EXIT:
            if found > 0:
                policy.learn(expected, found)
            expected = found = 1.0
        yield action

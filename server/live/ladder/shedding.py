"""What is left out of a ladder that falls behind real time, and when it comes back. Pure rules.

What measures and learns the stream has stopped before (`server.live.samples.process`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LATE_SHARE, EASY_SHARE = 0.5, 0.3
"""Of a segment's duration, from its last frame until it can be fetched: more is late, and less leaves room."""
_SHORTEST_S = 1.0
"""Shorter segments are judged as if they lasted so long: writing one takes its time, however short it is."""
LATE_SEGMENTS = 2
"""So many in a row that are late, and not catching up: one step down."""
_CATCHING_UP = 0.9
SETTLE_SEGMENTS = 2
"""After a step the next ones tell of what was before it."""
PATIENCE_S, PATIENCE_MAX_S = 20.0, 320.0
"""With room for so long: one step up. Each relapse doubles it, and it is forgotten after PATIENCE_MAX_S without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """What is made of it. without: ids of rungs that are left out, highest first. eased: made with least effort."""

    without: tuple[str, ...] = ()
    eased: tuple[str, ...] = ()

    def describe(self) -> str:
        """A clause."""
        if not self.without and not self.eased:
            return "its ladder is whole again"
        left_out = f"it goes on without {', '.join(self.without)}" if self.without else ""
        eased = f"{', '.join(self.eased)} is encoded with less effort" if self.eased else ""
        return ", and ".join(filter(None, (left_out, eased)))


WHOLE_LADDER = Ladder()


def steps_of(rungs: Sequence[str], *, can_ease: bool) -> list[Ladder]:
    """From the whole ladder down to its lowest rung. rungs: ids, lowest first.

    First the top rung is eased, if it can be; then one after the other is left out, and the top of those left is eased.
    """
    steps = [WHOLE_LADDER]
    for count in range(len(rungs), 0, -1):
        ladder = Ladder(without=tuple(reversed(rungs[count:])), eased=(rungs[count - 1],) if can_ease else ())
        steps += [ladder] if ladder != WHOLE_LADDER else []
    return steps


class Shedder:
    """Hears how soon each segment was ready."""

    def __init__(self, steps: Sequence[Ladder], segment_s: float) -> None:
        self._steps, self._segment_s = steps, segment_s
        self._usual_s = max(_SHORTEST_S, segment_s)
        self._level = 0
        self._late = self._easy = 0
        self._since = 0
        """Segments since the last step."""
        self._rose = False
        self._before_s = 0.0
        self._patience_s = PATIENCE_S

    @property
    def ladder(self) -> Ladder:
        """What is to be made of the next segment."""
        return self._steps[self._level]

    def note(self, ready_s: float) -> bool:
        """A segment was ready so long after its last frame; whether the ladder is another one from now on.

        Of a source that comes ahead of its time, such as a file that is not paced, nothing is late: give 0 or less.
        """
        self._since += 1
        is_late = ready_s > LATE_SHARE * self._usual_s and ready_s >= _CATCHING_UP * self._before_s
        self._late = self._late + 1 if is_late else 0
        self._easy = self._easy + 1 if ready_s < EASY_SHARE * self._usual_s else 0
        self._before_s = ready_s
        if self._late >= LATE_SEGMENTS and self._since > SETTLE_SEGMENTS and self._level < len(self._steps) - 1:
            self._note_relapse()
            return self._step(1)
        if self._level and self._easy >= self._segments(self._patience_s):
            return self._step(-1)
        if self._since > self._segments(PATIENCE_MAX_S):
            self._patience_s = PATIENCE_S
        return False

    def _note_relapse(self) -> None:
        """What came back was too much."""
        if self._rose and self._since <= self._segments(self._patience_s):
            self._patience_s = min(PATIENCE_MAX_S, 2 * self._patience_s)

    def _step(self, by: int) -> bool:
        self._level += by
        self._rose = by < 0
        self._late = self._easy = self._since = 0
        return True

    def _segments(self, seconds: float) -> int:
        return math.ceil(seconds / self._segment_s)

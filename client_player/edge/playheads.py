"""Where the viewers of one title are, as far as their requests tell: who will want which segment, and by when.

Stock players say little of themselves. Each asks for one segment after the other, so a request for segment n is taken
for that of the viewer who was last sent n − 1, and what was sent less the time that has passed is the buffer. Players
that send CMCD (`sid`, `bl`) are known for certain. All pure: time is an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

VIEWERS_MAX = 4096
"""Of one title; the one that was not heard of for longest is forgotten."""
SILENT_MAX_S = 30.0
"""A viewer whose buffer has been empty for so long has gone."""
BUFFER_MAX_S = 3600.0
_LATER_SHARE = 0.1
"""Of the viewers to whom a segment was sent, after the first: how many more are expected to come for it some time."""


@dataclass(slots=True, kw_only=True, eq=False)
class Viewer:
    """One viewer. name: who asks. next_segment: what is wanted next. buffer_s: media held, at the time `at_s`.

    waits: for an answer, and so has not gone, however long that takes.
    """

    name: str
    next_segment: int
    buffer_s: float
    at_s: float
    waits: bool = False

    def buffer_at(self, now_s: float) -> float:
        """Media seconds left to play, as if nothing had stopped it."""
        return max(0.0, self.buffer_s - (now_s - self.at_s))


class Playheads:
    """The viewers of one title. start_s: when each segment begins, and the last one ends."""

    def __init__(self, start_s: Sequence[float]) -> None:
        self._start_s = start_s
        self._viewers: list[Viewer] = []
        self._sent: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._viewers)

    def present(self, now_s: float) -> int:
        """How many there are now."""
        self._forget_gone(now_s)
        return len(self._viewers)

    def asks(self, now_s: float, segment: int, name: str, told_buffer_s: float | None = None) -> Viewer:
        """Somebody asks for a segment. told_buffer_s: what the player says of its buffer."""
        self._forget_gone(now_s)
        viewer = self._find(segment, name)
        if viewer is None:
            viewer = Viewer(name=name, next_segment=segment, buffer_s=0.0, at_s=now_s)
            self._viewers.append(viewer)
            del self._viewers[:-VIEWERS_MAX]
        buffer_s = viewer.buffer_at(now_s) if viewer.next_segment == segment else 0.0
        viewer.next_segment = segment
        viewer.buffer_s = min(BUFFER_MAX_S, buffer_s if told_buffer_s is None else told_buffer_s)
        viewer.at_s, viewer.waits = now_s, True
        return viewer

    def sent(self, now_s: float, viewer: Viewer, segment: int) -> None:
        """The viewer has got what it asked for."""
        self._sent[segment] += 1
        if viewer.next_segment == segment:
            viewer.buffer_s = viewer.buffer_at(now_s) + self._start_s[segment + 1] - self._start_s[segment]
            viewer.at_s, viewer.next_segment = now_s, segment + 1

    def due(self, now_s: float, segment: int) -> Iterator[float]:
        """For each viewer who has still to come to a segment, the instant at which it is played."""
        for viewer in self._viewers:
            if viewer.next_segment <= segment:
                ahead_s = self._start_s[segment] - self._start_s[viewer.next_segment]
                yield now_s + viewer.buffer_at(now_s) + ahead_s

    def was_sent(self, segment: int) -> bool:
        """Whether somebody has got it already."""
        return self._sent[segment] > 0

    def later(self, segment: int) -> float:
        """How many viewers may come for a segment some time, besides those who are on their way to it."""
        return _LATER_SHARE * max(0, self._sent[segment] - 1)

    def wanted(self, now_s: float, ahead_s: float) -> list[tuple[float, int]]:
        """What will be played within `ahead_s`: (instant, segment), each at its first viewer's, soonest first."""
        self._forget_gone(now_s)
        soonest: dict[int, float] = {}
        for viewer in self._viewers:
            due_s, segment = now_s + viewer.buffer_at(now_s), viewer.next_segment
            while segment < len(self._start_s) - 1 and due_s < now_s + ahead_s:
                soonest[segment] = min(due_s, soonest.get(segment, due_s))
                due_s += self._start_s[segment + 1] - self._start_s[segment]
                segment += 1
        return sorted((due_s, segment) for segment, due_s in soonest.items())

    def _find(self, segment: int, name: str) -> Viewer | None:
        """Of the viewers of this name the one to whom this comes next, or else came last: it may ask twice, or seek."""
        alike = [viewer for viewer in self._viewers if viewer.name == name]
        for place in (segment, segment + 1):
            if here := [viewer for viewer in alike if viewer.next_segment == place]:
                return min(here, key=lambda viewer: viewer.at_s)
        return None

    def _forget_gone(self, now_s: float) -> None:
        self._viewers = [
            viewer for viewer in self._viewers if viewer.waits or now_s < viewer.at_s + viewer.buffer_s + SILENT_MAX_S
        ]

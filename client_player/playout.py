"""The play-out time line: which media instant the screen and the speakers are at, and where they stood still. Pure.

Audio is the master: the line moves with the clock and stops only where media is missing. A frame that is not ready at
its instant is late; the line does not wait for it, unless the screen has fallen so far behind that picture and sound
would come apart.
"""

from __future__ import annotations

from dataclasses import dataclass

RESYNC_S = 1.0
"""When a frame is this late, play-out stops until the screen has caught up, as it would for missing media."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Play-out stood still from `since_s` to `until_s` at media instant `media_s`; `startup` for the first time."""

    since_s: float
    until_s: float
    media_s: float
    startup: bool

    @property
    def duration_s(self) -> float:
        return self.until_s - self.since_s


@dataclass(slots=True)
class Playout:
    """State of play-out. All instants are session seconds; `arrived_s` is the media downloaded so far."""

    arrived_s: float = 0.0
    _origin_s: float | None = None
    _at_s: float = 0.0
    _since_s: float = 0.0
    _started: bool = False

    @property
    def playing(self) -> bool:
        """Whether the line moves, as far as is known: it finds out that media ran out when more of it arrives."""
        return self._origin_s is not None

    @property
    def started(self) -> bool:
        return self._started

    def playhead_s(self, now_s: float) -> float:
        """The media instant being shown at `now_s`."""
        if self._origin_s is None:
            return self._at_s
        return min(now_s - self._origin_s, self.arrived_s)

    def buffer_s(self, now_s: float) -> float:
        """Media seconds downloaded and not yet shown."""
        return max(0.0, self.arrived_s - self.playhead_s(now_s))

    def moving(self, now_s: float) -> bool:
        """Whether the line truly moves at `now_s`: playing and not out of media."""
        return self._origin_s is not None and now_s - self._origin_s < self.arrived_s

    def due_s(self, media_s: float) -> float | None:
        """The instant at which media instant `media_s` is shown, or None while the line stands."""
        return None if self._origin_s is None else self._origin_s + media_s

    def arrive(self, now_s: float, duration_s: float) -> None:
        """The next `duration_s` of media are complete. If the line had run out of media, it has stood since then."""
        if self._origin_s is not None and now_s - self._origin_s > self.arrived_s:
            self._stand(self._origin_s + self.arrived_s, self.arrived_s)
        self.arrived_s += duration_s

    def fall_behind(self, media_s: float) -> None:
        """Stop at `media_s`, whose instant has passed: the screen cannot follow."""
        if self._origin_s is not None:
            self._stand(self._origin_s + media_s, media_s)

    def resume(self, now_s: float) -> Pause:
        """Let the line move from now on; says how long it stood. It must be standing."""
        assert self._origin_s is None
        pause = Pause(since_s=self._since_s, until_s=now_s, media_s=self._at_s, startup=not self._started)
        self._origin_s, self._started = now_s - self._at_s, True
        return pause

    def _stand(self, since_s: float, media_s: float) -> None:
        self._origin_s, self._since_s, self._at_s = None, since_s, media_s

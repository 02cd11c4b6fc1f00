"""The playback timeline: which media instant is shown at which session time, and where playback stopped. Pure.

Audio is the master: the playhead moves with the clock and stops only where media is missing. A frame that is not
ready in time is late; the playhead does not wait for it, unless the picture is more than `RESYNC_S` behind the sound.
"""

from __future__ import annotations

from dataclasses import dataclass

RESYNC_S = 1.0
"""When a frame is this late, playback stops until the picture has caught up, as it does for missing media."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Playback stopped from `since_s` to `until_s` at media instant `media_s`.

    startup: the wait before the first frame.
    """

    since_s: float
    until_s: float
    media_s: float
    startup: bool

    @property
    def duration_s(self) -> float:
        """How long the picture stood still."""
        return self.until_s - self.since_s


@dataclass(slots=True)
class Timeline:
    """State of playback. Instants are session seconds; arrived_s: seconds of media downloaded so far.

    rate: media seconds that are shown in a second.
    """

    arrived_s: float = 0.0
    rate: float = 1.0
    _origin_s: float | None = None
    """When media instant 0 would have been shown at this rate; None while playback is stopped."""
    _stopped_media_s: float = 0.0
    _stopped_at_s: float = 0.0
    _started: bool = False

    @property
    def playing(self) -> bool:
        """Whether the playhead moves. It stays True when media runs out, until more media arrives."""
        return self._origin_s is not None

    @property
    def started(self) -> bool:
        """Whether the first frame has been shown."""
        return self._started

    def playhead_s(self, now_s: float) -> float:
        """The media instant being shown at `now_s`."""
        if self._origin_s is None:
            return self._stopped_media_s
        return min((now_s - self._origin_s) * self.rate, self.arrived_s)

    def buffer_s(self, now_s: float) -> float:
        """Media seconds downloaded and not yet shown."""
        return max(0.0, self.arrived_s - self.playhead_s(now_s))

    def is_moving(self, now_s: float) -> bool:
        """Whether the playhead moves at `now_s`: playing, and media is left."""
        return self._origin_s is not None and (now_s - self._origin_s) * self.rate < self.arrived_s

    def due_s(self, media_s: float) -> float | None:
        """The instant at which media instant `media_s` is shown, or None while playback is stopped."""
        return None if self._origin_s is None else self._origin_s + media_s / self.rate

    def add_media(self, now_s: float, duration_s: float) -> None:
        """The next `duration_s` of media are complete. If media had run out, playback has been stopped since then."""
        if self._origin_s is not None and (now_s - self._origin_s) * self.rate > self.arrived_s:
            self._stop(self._origin_s + self.arrived_s / self.rate, self.arrived_s)
        self.arrived_s += duration_s

    def set_rate(self, now_s: float, rate: float) -> None:
        """From now on media is shown at another rate; where media has run out, from when there is more."""
        if self._origin_s is not None:
            if not self.is_moving(now_s):
                return
            self._origin_s = now_s - self.playhead_s(now_s) / rate
        self.rate = rate

    def stop_at(self, media_s: float) -> None:
        """Stop at `media_s`, whose instant has passed, because the picture is too late."""
        if self._origin_s is not None:
            self._stop(self._origin_s + media_s / self.rate, media_s)

    def resume(self, now_s: float) -> Pause:
        """Start or continue playback now; returns the pause that ends. Playback must be stopped."""
        assert self._origin_s is None
        pause = Pause(
            since_s=self._stopped_at_s, until_s=now_s, media_s=self._stopped_media_s, startup=not self._started
        )
        self._origin_s, self._started = now_s - self._stopped_media_s / self.rate, True
        return pause

    def _stop(self, since_s: float, media_s: float) -> None:
        self._origin_s, self._stopped_at_s, self._stopped_media_s = None, since_s, media_s

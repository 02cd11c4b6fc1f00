"""Times of a running source: mended where they jump, and put on the clock of the wall."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from abr.media.timeline import LONGEST_GAP_S
from server.clock import iso_time

_BACK_MAX_S = Fraction(1, 2)
"""Timestamps that go back by less are jitter."""
_GAP_MAX_S = Fraction(LONGEST_GAP_S)
_HELD_MAX_S = 2.0
"""A first picture that seems to have been held for longer has another clock than those that follow it."""
_SAME_JUMP_S = Fraction(2)
"""Sound and pictures jump together when their shifts differ by less."""


class Kind(Enum):
    """The two streams that are taken of a source."""

    PICTURES = "pictures"
    SOUND = "sound"


class SourceClock:
    """What makes the times of a source's frames run on while they come.

    A clock that goes back, or ahead by more than ten seconds, goes on where the frames before it ended. Sound and
    pictures that jump together stay together. It is `abr.media.timeline` for frames whose followers are not known.
    """

    def __init__(self) -> None:
        self._shift_s = dict.fromkeys(Kind, Fraction(0))
        self._expected_s: dict[Kind, Fraction] = {}
        self.jumps = 0
        """How often it was mended."""

    def shift(self, kind: Kind, time_s: Fraction, duration_s: Fraction) -> Fraction:
        """The seconds to add to the time of the next frame of that kind."""
        other = Kind.SOUND if kind is Kind.PICTURES else Kind.PICTURES
        expected_s = self._expected_s.get(kind)
        back_max_s = _BACK_MAX_S
        if expected_s is None and (expected_s := self._expected_s.get(other)) is not None:
            back_max_s = _GAP_MAX_S  # the first of its kind may come well after the other
        shift_s = self._shift_s[kind]
        ahead_s = Fraction(0) if expected_s is None else time_s + shift_s - expected_s
        if (
            expected_s is not None
            and not -back_max_s <= ahead_s <= _GAP_MAX_S
            and not self._is_gap(other, ahead_s, time_s + shift_s)
        ):
            shared_s = self._shift_s[other]
            wanted_s = expected_s - time_s
            is_shared = shared_s != shift_s and abs(shared_s - wanted_s) <= _SAME_JUMP_S
            shift_s = self._shift_s[kind] = shared_s if is_shared else wanted_s
            self.jumps += 1
        self._expected_s[kind] = time_s + shift_s + duration_s
        return shift_s

    def _is_gap(self, other: Kind, ahead_s: Fraction, at_s: Fraction) -> bool:
        """Whether one kind only paused: the other has come as far meanwhile, on the same clock."""
        reached_s = self._expected_s.get(other)
        return ahead_s > 0 and reached_s is not None and -_SAME_JUMP_S <= at_s - reached_s <= _GAP_MAX_S


@dataclass(frozen=True, slots=True)
class WallClock:
    """Where media time 0 lies on the clock of the wall.

    begun_s: seconds since 1970 when the first picture came: the MPD's @availabilityStartTime.
    """

    begun_s: float

    def instant(self, media_s: float | Fraction) -> str:
        """The moment of a media time, as xs:dateTime and RFC 3339 have it."""
        return iso_time(self.begun_s + float(media_s))


class FirstPictures:
    """Where media time 0 lies, by the one of the first pictures that came with the least delay.

    The first one of all may have lain in a pipe, or in a buffer of the network or of the demuxer, for longer.
    """

    def __init__(self, begun_s: float) -> None:
        """begun_s: when the first one came, in seconds since 1970."""
        self._begun_s = begun_s
        self._first_delay_s: float | None = None
        self._early_s = 0.0

    def note(self, came_s: float, media_s: float) -> None:
        """A picture of that media time came at that moment of the monotonic clock."""
        delay_s = came_s - media_s
        if self._first_delay_s is None:
            self._first_delay_s = delay_s
        if (early_s := self._first_delay_s - delay_s) < _HELD_MAX_S:
            self._early_s = max(self._early_s, early_s)

    @property
    def clock(self) -> WallClock:
        """By what came so far."""
        return WallClock(self._begun_s - self._early_s)

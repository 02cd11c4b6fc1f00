"""The timestamps of decoded frames, mended where they restart, jump or stray.

Joined and resumed recordings begin again at another time, and single timestamps are plain wrong. The mend is a short
list of shifts, so that whoever decodes the same file in the same order places each frame at the same moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Protocol, TypeVar

T = TypeVar("T")

_COMMON_RATES = tuple(Fraction(n) for n in (24, 25, 30, 48, 50, 60)) + tuple(
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60)
)
_SLOWEST_FPS, _FASTEST_FPS = 5, Fraction(121, 2)


class TimedFrames(Protocol):
    """Frames of one stream in decoded order: seconds, NaN where a frame has no time."""

    @property
    def times_s(self) -> Sequence[float]:
        """When each begins."""

    @property
    def durations_s(self) -> Sequence[float]:
        """How long each lasts."""


Shifts = tuple[tuple[int, float], ...]
"""(n, seconds) by rising n: from the n-th decoded frame on, add so many seconds to its timestamp."""

LONGEST_GAP_S = 10.0
"""A longer gap is a jump of the clock where the format allows one; FFmpeg's own bound, `dts_delta_threshold`."""
_OVERLAP_MAX_S = 0.5
"""Timestamps that go back by less are jitter."""
_STRAYS_MAX = 8
"""So many frames in a row may have a wrong timestamp before it counts as a new clock."""
_RETURN_S = 1.0
_LAST_SOUND_S = 0.25
"""So little sound that follows a long gap, with none after it, has a wrong timestamp."""
_SAME_JUMP_S = 2.0
"""Sound and pictures jump at one splice when their shifts differ by less."""


def find_shifts(
    times_s: Sequence[float],
    durations_s: Sequence[float],
    *,
    gap_max_s: float = math.inf,
    known_s: Iterable[float] = (),
    last_s: float = 0.0,
) -> Shifts:
    """What makes the times of one stream's frames run on: NaN is a frame without a time, which follows the last.

    A clock that goes back, or ahead by more than `gap_max_s`, goes on where the frames before it ended. A few frames
    off the clock are put between their neighbours. known_s: shifts of the pictures, which a sound with nearly the same
    jump shares, so that both stay together. last_s: frames after a long gap that are the last, and together no longer,
    are off the clock.
    """
    known = list(known_s)
    shifts: list[tuple[int, float]] = []
    clock_s = shift_s = 0.0
    expected_s = _first_moment(times_s, durations_s)
    for index, (time_s, duration_s) in enumerate(zip(times_s, durations_s, strict=True)):
        if math.isnan(time_s):
            expected_s = None if expected_s is None else expected_s + duration_s
            continue
        own_s = clock_s
        error_s = 0.0 if expected_s is None else time_s + clock_s - expected_s
        if expected_s is not None and not -_OVERLAP_MAX_S <= error_s <= LONGEST_GAP_S:
            wanted_s = expected_s - time_s
            partner_s = min(known, key=lambda each: abs(each - wanted_s), default=math.inf)
            if abs(partner_s - wanted_s) <= _SAME_JUMP_S:
                clock_s = own_s = partner_s
            elif _returns(times_s, index, expected_s - clock_s, duration_s) or _are_last(durations_s, index, last_s):
                own_s = wanted_s
            elif error_s < 0 or error_s > gap_max_s:
                clock_s = own_s = wanted_s
        if own_s != shift_s:
            shifts.append((index, own_s))
            shift_s = own_s
        expected_s = time_s + own_s + duration_s
    return tuple(shifts)


def _first_moment(times_s: Sequence[float], durations_s: Sequence[float]) -> float | None:
    """Where the first frame belongs by most of those after it; None when they do not agree."""
    run_s = accumulate(durations_s[:_STRAYS_MAX], initial=0.0)
    begins = sorted(time_s - after_s for time_s, after_s in zip(times_s, run_s, strict=False) if not math.isnan(time_s))
    if not begins:
        return None
    middle_s = begins[len(begins) // 2]
    agree = sum(abs(begin_s - middle_s) <= _RETURN_S for begin_s in begins)
    return middle_s if 2 * agree > len(begins) else None


def _returns(times_s: Sequence[float], index: int, expected_s: float, step_s: float) -> bool:
    """Whether the frames soon after this one are where the clock before it would have them."""
    ahead = times_s[index + 1 : index + 1 + _STRAYS_MAX]
    return any(abs(time_s - expected_s - n * step_s) <= _RETURN_S for n, time_s in enumerate(ahead, 1))


def _are_last(durations_s: Sequence[float], index: int, last_s: float) -> bool:
    """Whether this frame and those after it are few, and together no longer than that."""
    return len(durations_s) - index <= _STRAYS_MAX and sum(durations_s[index:]) <= last_s


def each_with_shift(frames: Iterable[T], shifts: Shifts) -> Iterator[tuple[T, Fraction]]:
    """Each decoded frame, the first of the file first, with the seconds to add to its timestamp."""
    rest = iter(shifts)
    following = next(rest, None)
    shift_s = Fraction(0)
    for index, frame in enumerate(frames):
        if following is not None and following[0] == index:
            shift_s = Fraction(following[1]).limit_denominator(1_000_000)
            following = next(rest, None)
        yield frame, shift_s


def find_all_shifts(
    pictures: TimedFrames, sounds: Sequence[TimedFrames], *, clock_jumps: bool
) -> tuple[Shifts, list[Shifts]]:
    """The shifts of the pictures and of each of their sounds, which share the jumps of the file's clock.

    clock_jumps: whether a long gap is a jump of the clock in this format; with sound, only one that the first sound has
    too.
    """
    gap_max_s = LONGEST_GAP_S if clock_jumps else math.inf
    if not sounds:
        return find_shifts(pictures.times_s, pictures.durations_s, gap_max_s=gap_max_s), []
    first = sounds[0]
    alone = find_shifts(first.times_s, first.durations_s, gap_max_s=gap_max_s, last_s=_LAST_SOUND_S)
    shown = find_shifts(pictures.times_s, pictures.durations_s, known_s=[shift_s for _, shift_s in alone])
    known_s = [shift_s for _, shift_s in shown]
    heard = [find_shifts(sound.times_s, sound.durations_s, known_s=known_s, last_s=_LAST_SOUND_S) for sound in sounds]
    return shown, heard


def place(times_s: Sequence[float], durations_s: Sequence[float], shifts: Shifts) -> list[float]:
    """The mended times. A frame without one follows the frame before it; NaN where there is none."""
    placed: list[float] = []
    expected_s = math.nan
    for (time_s, shift_s), duration_s in zip(each_with_shift(times_s, shifts), durations_s, strict=True):
        placed.append(expected_s if math.isnan(time_s) else time_s + float(shift_s))
        expected_s = placed[-1] + duration_s
    return placed


def tidy_rate(rate: Fraction) -> Fraction:
    """The constant frame rate to encode at: a common rate when within 0.1 %, at most 60, doubled below 5.

    A higher rate is divided by the least whole number, so that frames stay evenly spaced: 144 becomes 48.
    """
    rate /= math.ceil(rate / _FASTEST_FPS)
    while rate < _SLOWEST_FPS:
        rate *= 2
    nearest = min(_COMMON_RATES, key=lambda common: abs(common - rate))
    return nearest if abs(nearest - rate) <= rate / 1000 else rate.limit_denominator(1001)

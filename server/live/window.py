"""The time-shift buffer: which segments of a running stream are listed, and which stay on the disk. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from abr.errors import InputError

SEGMENTS_MIN = 3
"""A playlist that loses segments must last three target durations (RFC 8216, 6.2.2)."""


def check_window(window_s: float, segment_s: float) -> None:
    """Raises InputError for a window that is too short to play in."""
    if window_s < SEGMENTS_MIN * segment_s:
        raise InputError(
            f"A window of {window_s:g} s is too short for segments of {segment_s:g} s: "
            f"give at least {SEGMENTS_MIN * segment_s:g} s."
        )


def first_listed(ends_s: Sequence[Fraction], window_s: float) -> int:
    """The first segment (0-based) of which some lies in the last `window_s` seconds before the live edge.

    ends_s: media time at which each segment ends, so far; those that are counted from may begin anywhere.
    """
    return _first_after(ends_s, Fraction(window_s))


def first_stored(ends_s: Sequence[Fraction], window_s: float, longest_s: Fraction) -> int:
    """The first segment (0-based) that stays on the disk.

    One that is no longer listed stays for its own duration and that of the longest playlist that listed it, so that
    whoever has just read that playlist can still fetch it (RFC 8216, 6.2.2). longest_s: of all segments.
    """
    return _first_after(ends_s, 2 * Fraction(window_s) + longest_s)


def _first_after(ends_s: Sequence[Fraction], back_s: Fraction) -> int:
    """The first segment that ends after the moment `back_s` before the live edge; never more than there are."""
    edge_s = ends_s[-1] if ends_s else Fraction(0)
    return next((index for index, end_s in enumerate(ends_s) if end_s > edge_s - back_s), 0)

"""The time-shift buffer is exact, and playlists may lose segments only as RFC 8216 lets them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.errors import InputError
from server.live.window import check_window, first_listed, first_stored


def ends(*durations_s: float) -> list[Fraction]:
    return [sum(map(Fraction, durations_s[: index + 1]), Fraction(0)) for index in range(len(durations_s))]


def test_a_minute_of_two_second_segments_is_thirty():
    assert [first_listed(ends(*[2.0] * count), 60) for count in (1, 30, 31, 32, 100)] == [0, 0, 1, 2, 70]


def test_a_segment_is_listed_as_long_as_some_of_it_lies_in_the_window():
    assert first_listed(ends(2, 2, 2, 2, 1), 6) == 1
    assert first_listed(ends(2, 2, 2, 2, 2), 6) == 2


def test_what_is_no_longer_listed_stays_for_one_more_window_and_a_segment():
    assert [first_stored(ends(*[2.0] * count), 6, Fraction(2)) for count in (1, 6, 7, 8, 9)] == [0, 0, 0, 1, 2]


def test_it_does_not_matter_how_many_were_removed_before():
    every = ends(*[2.0] * 50)
    for removed in (0, 10, 43):
        assert removed + first_stored(every[removed:], 6, Fraction(2)) == 43
        assert removed + first_listed(every[removed:], 6) == 47


def test_before_the_first_segment_there_is_nothing_to_remove():
    assert first_listed([], 6) == first_stored([], 6, Fraction(2)) == 0


@given(st.lists(st.fractions(Fraction(1, 2), 4), min_size=1, max_size=60), st.integers(12, 40))
def test_the_window_is_covered_and_everything_listed_is_stored(durations_s: list[Fraction], window_s: int):
    ends_s = [sum(durations_s[: index + 1], Fraction(0)) for index in range(len(durations_s))]
    listed, stored = first_listed(ends_s, window_s), first_stored(ends_s, window_s, max(durations_s))
    assert 0 <= stored <= listed < len(ends_s)
    begin_s = ends_s[listed - 1] if listed else Fraction(0)
    assert ends_s[-1] - begin_s >= min(window_s, ends_s[-1])
    assert ends_s[-1] - ends_s[listed] < window_s
    if listed:  # a playlist that loses segments lasts three target durations
        assert ends_s[-1] - begin_s >= 3 * max(durations_s)


def test_a_window_too_short_to_play_in_is_refused():
    check_window(6, 2)
    with pytest.raises(InputError, match="give at least 6 s"):
        check_window(5.9, 2)

"""A source's clock may jump, restart or stray: its pictures and its sound run on, together."""

from __future__ import annotations

from fractions import Fraction

import pytest

from server.live.clock import FirstPictures, Kind, SourceClock, WallClock
from server.live.ladder.readiness import Readiness, percentile

FRAME_S = Fraction(1, 25)
BLOCK_S = Fraction(1024, 48000)


def placed(clock: SourceClock, kind: Kind, times_s: list[Fraction], lasts_s: Fraction) -> list[Fraction]:
    return [time_s + clock.shift(kind, time_s, lasts_s) for time_s in times_s]


def pictures(begin_s: float, count: int) -> list[Fraction]:
    return [Fraction(begin_s) + index * FRAME_S for index in range(count)]


def test_a_steady_clock_is_left_alone():
    clock = SourceClock()
    assert placed(clock, Kind.PICTURES, pictures(1000, 50), FRAME_S) == pictures(1000, 50)
    assert clock.jumps == 0


@pytest.mark.parametrize("jump_s", [100_000, -900, -1, 11])
def test_after_a_jump_pictures_go_on_where_they_were(jump_s: int):
    clock = SourceClock()
    times_s = [*pictures(1000, 25), *pictures(1001 + jump_s, 25)]
    assert placed(clock, Kind.PICTURES, times_s, FRAME_S) == pictures(1000, 50)


@pytest.mark.parametrize("gap_s", [Fraction(1, 10), Fraction(9), Fraction(-1, 5)])
def test_a_gap_of_some_seconds_and_jitter_are_what_they_say(gap_s: Fraction):
    clock = SourceClock()
    times_s = [*pictures(1000, 25), *(time_s + gap_s for time_s in pictures(1001, 25))]
    assert placed(clock, Kind.PICTURES, times_s, FRAME_S) == times_s


def test_sound_and_pictures_that_jump_together_stay_together():
    clock = SourceClock()
    for begin_s in (10, 70_000, 5):
        shifts = {clock.shift(Kind.PICTURES, time_s, FRAME_S) for time_s in pictures(begin_s, 25)}
        heard = [Fraction(begin_s) + Fraction(3, 10) + index * BLOCK_S for index in range(40)]
        shifts |= {clock.shift(Kind.SOUND, time_s, BLOCK_S) for time_s in heard}
        assert len(shifts) == 1, begin_s


def test_sound_that_begins_on_another_clock_is_put_beside_the_pictures():
    clock = SourceClock()
    placed(clock, Kind.PICTURES, pictures(50_000, 5), FRAME_S)
    (first_s,) = placed(clock, Kind.SOUND, [Fraction(3)], BLOCK_S)
    assert first_s == 50_000 + 5 * FRAME_S


def test_sound_that_begins_a_little_before_the_pictures_is_left_there():
    clock = SourceClock()
    placed(clock, Kind.PICTURES, pictures(10, 5), FRAME_S)
    assert placed(clock, Kind.SOUND, [Fraction(9)], BLOCK_S) == [9]


def test_a_stray_timestamp_moves_nothing_that_follows():
    clock = SourceClock()
    times_s = [*pictures(0, 10), Fraction(95_000), *pictures(float(11 * FRAME_S), 10)]
    found = placed(clock, Kind.PICTURES, times_s, FRAME_S)
    assert max(abs(a - b) for a, b in zip(found, pictures(0, 21), strict=True)) < Fraction(1, 1000)


@pytest.mark.parametrize("paused", Kind)
def test_one_kind_that_pauses_while_the_other_goes_on_comes_back_in_its_place(paused: Kind):
    """In one stream, as its packets come: 3 s of both, 12 s of one alone, 3 s of both."""
    clock = SourceClock()
    lasts_s = {Kind.PICTURES: FRAME_S, Kind.SOUND: BLOCK_S}
    moments = [(index * lasts_s[kind], kind) for kind in Kind for index in range(int(18 / lasts_s[kind]))]
    come = sorted((each for each in moments if each[1] is not paused or not 3 < each[0] < 15), key=lambda each: each[0])
    shifts = {clock.shift(kind, 1000 + time_s, lasts_s[kind]) for time_s, kind in come}
    assert shifts == {0} and clock.jumps == 0


def test_a_jump_of_both_is_mended_whoever_comes_first():
    for first, second in ((Kind.PICTURES, Kind.SOUND), (Kind.SOUND, Kind.PICTURES)):
        clock = SourceClock()
        for begin_s in (10, 23):  # ahead by 12 s
            moments = [Fraction(begin_s) + index * FRAME_S for index in range(25)]
            shifts = {clock.shift(kind, time_s, FRAME_S) for time_s in moments for kind in (first, second)}
        assert shifts == {-12} and clock.jumps == 2


def test_the_wall_clock_tells_when_a_media_time_was():
    wall = WallClock(1_800_000_000.25)
    assert wall.instant(0) == "2027-01-15T08:00:00.250Z"
    assert wall.instant(Fraction(7, 2)) == "2027-01-15T08:00:03.750Z"


def test_falling_behind_is_said_once_and_catching_up_too():
    readiness = Readiness(segment_s=2)
    said = [readiness.add(ready_s) for ready_s in (0.1, 2.5, 3.5, 0.4, 0.1)]
    assert [bool(sentence) for sentence in said] == [False, True, False, True, False]
    assert "2.5 s" in said[1] and said[3] == "has caught up."
    assert readiness.summary() == {"p50_s": 0.4, "p99_s": 3.5, "max_s": 3.5}


def test_percentiles_are_values_that_were_seen():
    assert [percentile([3, 1, 2, 4], share) for share in (50, 75, 99, 100)] == [2, 3, 4, 4]


@pytest.mark.parametrize(
    ("pictures", "early_s"),
    [
        ([(10.0, 0.0), (10.04, 0.04), (10.08, 0.08)], 0.0),
        ([(10.0, 0.0), (10.01, 0.5), (10.05, 0.54), (10.2, 0.58)], 0.49),
        ([(10.0, 0.0), (10.2, 0.04), (10.3, 0.08)], 0.0),
        ([(10.0, 0.0), (10.01, 0.04), (10.02, 100_000.0)], 0.03),
    ],
)
def test_a_stream_began_when_its_first_picture_would_have_come_without_delay(pictures, early_s: float):
    first = FirstPictures(1000.0)
    for came_s, media_s in pictures:
        first.note(came_s, media_s)
    assert first.clock.begun_s == pytest.approx(1000.0 - early_s)

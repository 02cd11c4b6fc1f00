"""The play-out line: stalls are exactly the time in which media was missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_player.playback.timeline import Timeline


def test_start_up_is_a_pause_but_no_stall() -> None:
    timeline = Timeline()
    timeline.add_media(1.5, 2.0)
    pause = timeline.resume(1.6)
    assert pause.startup and pause.duration_s == pytest.approx(1.6)
    assert timeline.playhead_s(2.6) == pytest.approx(1.0)


def test_running_dry_is_found_out_when_media_arrives_and_dated_back() -> None:
    timeline = Timeline()
    timeline.add_media(0.0, 2.0)
    timeline.resume(0.0)
    assert not timeline.is_moving(3.0) and timeline.buffer_s(3.0) == 0.0
    timeline.add_media(5.0, 2.0)
    assert not timeline.playing
    assert timeline.buffer_s(5.5) == pytest.approx(2.0), "media that came during a stall is not played yet"
    pause = timeline.resume(5.5)
    assert (pause.since_s, pause.until_s, pause.media_s) == pytest.approx((2.0, 5.5, 2.0))
    assert timeline.due_s(2.0) == pytest.approx(5.5)


def test_a_screen_far_behind_makes_the_line_wait() -> None:
    timeline = Timeline()
    timeline.add_media(0.0, 10.0)
    timeline.resume(0.0)
    timeline.stop_at(3.0)
    pause = timeline.resume(5.0)
    assert pause.duration_s == pytest.approx(2.0) and timeline.playhead_s(5.0) == pytest.approx(3.0)


@given(st.lists(st.tuples(st.floats(0.01, 8.0), st.floats(0.1, 4.0)), min_size=1, max_size=40))
def test_stalls_agree_with_the_textbook_account(arrivals: list[tuple[float, float]]) -> None:
    """Against Lindley's recursion: a segment that comes after all before it was played stalls by the difference."""
    timeline, now_s, played_until_s, stalled_s, expected_s = Timeline(), 0.0, 0.0, 0.0, 0.0
    for number, (gap_s, duration_s) in enumerate(arrivals):
        now_s += gap_s
        if number and now_s > played_until_s:
            expected_s += now_s - played_until_s
        played_until_s = max(played_until_s, now_s) + duration_s
        timeline.add_media(now_s, duration_s)
        if not timeline.playing:
            pause = timeline.resume(now_s)
            stalled_s += 0.0 if pause.startup else pause.duration_s
        assert 0 <= timeline.buffer_s(now_s) <= timeline.arrived_s + 1e-9
    assert stalled_s == pytest.approx(expected_s, abs=1e-6)
    assert timeline.due_s(timeline.arrived_s) == pytest.approx(played_until_s)


def test_a_change_of_rate_moves_no_picture_that_was_shown() -> None:
    timeline = Timeline()
    timeline.add_media(0.0, 10.0)
    timeline.resume(1.0)
    timeline.set_rate(3.0, 1.05)
    assert timeline.playhead_s(3.0) == pytest.approx(2.0) and timeline.due_s(2.0) == pytest.approx(3.0)
    assert timeline.playhead_s(5.0) == pytest.approx(4.1) and timeline.due_s(4.1) == pytest.approx(5.0)
    assert timeline.is_moving(10.6) and not timeline.is_moving(10.7), "ten seconds of media, the last eight faster"


def test_media_that_have_run_out_have_run_out_at_the_rate_of_then() -> None:
    timeline = Timeline()
    timeline.add_media(0.0, 2.1)
    timeline.set_rate(0.0, 1.05)
    timeline.resume(0.0)
    timeline.set_rate(3.0, 1.0)
    timeline.add_media(4.0, 1.0)
    pause = timeline.resume(4.5)
    assert (pause.since_s, pause.media_s) == pytest.approx((2.0, 2.1))

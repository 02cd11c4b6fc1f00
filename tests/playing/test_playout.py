"""The play-out line: stalls are exactly the time in which media was missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_player.playout import Playout


def test_start_up_is_a_pause_but_no_stall() -> None:
    playout = Playout()
    playout.arrive(1.5, 2.0)
    pause = playout.resume(1.6)
    assert pause.startup and pause.duration_s == pytest.approx(1.6)
    assert playout.playhead_s(2.6) == pytest.approx(1.0)


def test_running_dry_is_found_out_when_media_arrives_and_dated_back() -> None:
    playout = Playout()
    playout.arrive(0.0, 2.0)
    playout.resume(0.0)
    assert not playout.moving(3.0) and playout.buffer_s(3.0) == 0.0
    playout.arrive(5.0, 2.0)
    assert not playout.playing
    assert playout.buffer_s(5.5) == pytest.approx(2.0), "media that came during a stall is not played yet"
    pause = playout.resume(5.5)
    assert (pause.since_s, pause.until_s, pause.media_s) == pytest.approx((2.0, 5.5, 2.0))
    assert playout.due_s(2.0) == pytest.approx(5.5)


def test_a_screen_far_behind_makes_the_line_wait() -> None:
    playout = Playout()
    playout.arrive(0.0, 10.0)
    playout.resume(0.0)
    playout.fall_behind(3.0)
    pause = playout.resume(5.0)
    assert pause.duration_s == pytest.approx(2.0) and playout.playhead_s(5.0) == pytest.approx(3.0)


@given(st.lists(st.tuples(st.floats(0.01, 8.0), st.floats(0.1, 4.0)), min_size=1, max_size=40))
def test_stalls_agree_with_the_textbook_account(arrivals: list[tuple[float, float]]) -> None:
    """Against Lindley's recursion: a segment that comes after all before it was played stalls by the difference."""
    playout, now_s, played_until_s, stalled_s, expected_s = Playout(), 0.0, 0.0, 0.0, 0.0
    for number, (gap_s, duration_s) in enumerate(arrivals):
        now_s += gap_s
        if number and now_s > played_until_s:
            expected_s += now_s - played_until_s
        played_until_s = max(played_until_s, now_s) + duration_s
        playout.arrive(now_s, duration_s)
        if not playout.playing:
            pause = playout.resume(now_s)
            stalled_s += 0.0 if pause.startup else pause.duration_s
        assert 0 <= playout.buffer_s(now_s) <= playout.arrived_s + 1e-9
    assert stalled_s == pytest.approx(expected_s, abs=1e-6)
    assert playout.due_s(playout.arrived_s) == pytest.approx(played_until_s)

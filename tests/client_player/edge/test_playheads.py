"""What requests tell of viewers who say nothing: where they are, and when they need what."""

from __future__ import annotations

from itertools import accumulate

import pytest

from client_player.edge.playheads import SILENT_MAX_S, Playheads

START_S = tuple(accumulate([2.0] * 50, initial=0.0))


def ask(heads: Playheads, now_s: float, segment: int, name: str) -> None:
    """A request that is answered at once."""
    viewer = heads.asks(now_s, segment, name)
    viewer.waits = False
    heads.sent(now_s, viewer, segment)


def test_a_buffer_is_what_was_sent_less_the_time_that_has_passed() -> None:
    heads = Playheads(START_S)
    for segment in range(3):
        ask(heads, float(segment) / 2, segment, "tv")
    viewer = heads.asks(2.0, 3, "tv")
    assert viewer.buffer_at(2.0) == pytest.approx(6.0 - 2.0)
    assert list(heads.due(2.0, 5)) == [pytest.approx(2.0 + 4.0 + 4.0)]
    assert list(heads.due(2.0, 2)) == []


def test_viewers_behind_one_address_are_told_apart_by_what_they_ask_for() -> None:
    heads = Playheads(START_S)
    for segment in range(5):
        ask(heads, float(segment), segment, "the same")
    for segment in range(2):
        ask(heads, 5.0 + segment, segment, "the same")
    assert heads.present(7.0) == 2
    assert len(list(heads.due(7.0, 4))) == 1
    assert len(list(heads.due(7.0, 5))) == 2


def test_asking_again_is_no_other_viewer() -> None:
    heads = Playheads(START_S)
    for now_s in (0.0, 0.1, 0.2):
        ask(heads, now_s, 0, "tv")
    assert heads.present(0.2) == 1
    assert heads.asks(0.3, 1, "tv").buffer_at(0.3) < 2.0


def test_a_player_that_tells_its_buffer_is_believed() -> None:
    heads = Playheads(START_S)
    assert heads.asks(0.0, 7, "session", told_buffer_s=9.5).buffer_at(1.0) == pytest.approx(8.5)


def test_what_is_wanted_comes_soonest_first_and_once() -> None:
    heads = Playheads(START_S)
    heads.asks(0.0, 10, "one", told_buffer_s=5.0)
    heads.asks(0.0, 12, "two", told_buffer_s=0.5)
    wanted = heads.wanted(0.0, ahead_s=8.0)
    assert wanted == [(0.5, 12), (2.5, 13), (4.5, 14), (5.0, 10), (6.5, 15), (7.0, 11)]


def test_who_says_nothing_any_more_has_gone() -> None:
    heads = Playheads(START_S)
    ask(heads, 0.0, 0, "tv")
    assert heads.present(SILENT_MAX_S + 1.9) == 1
    assert heads.present(SILENT_MAX_S + 2.1) == 0


def test_who_waits_for_an_answer_has_not_gone_however_slow_the_line_is() -> None:
    heads = Playheads(START_S)
    viewer = heads.asks(0.0, 0, "tv")
    assert heads.present(1000.0) == 1
    viewer.waits = False
    assert heads.present(1000.0) == 0


def test_the_end_of_a_title_wants_nothing_more() -> None:
    heads = Playheads(START_S)
    ask(heads, 0.0, 49, "tv")
    assert heads.wanted(0.1, ahead_s=30.0) == []

"""The distance to the live edge, kept by a playback rate that nobody hears."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_player.playback.latency import RATE_MAX, RATE_MIN, STEADY_S, playback_rate
from client_player.playback.timeline import Timeline


@pytest.mark.parametrize(
    ("latency_s", "buffer_s", "rate"),
    [
        (2.05, 1.5, 1.0),
        (2.25, 1.5, 1.025),
        (4.0, 3.0, 1.05),
        (1.75, 1.0, 0.975),
        (0.5, 0.2, 0.95),
        (4.0, 0.1, 1.0),
    ],
)
def test_it_plays_faster_behind_its_target_and_slower_before_it(latency_s: float, buffer_s: float, rate: float) -> None:
    assert playback_rate(latency_s, 2.0, buffer_s) == pytest.approx(rate)


@given(st.floats(0.2, 6.0), st.floats(1.0, 4.0))
def test_it_comes_back_to_its_target_and_stays_there(latency_s: float, target_s: float) -> None:
    """By the timeline that the player has, looked at twice a second; the stream sends at its own rate."""
    timeline = Timeline()
    timeline.add_media(0.0, 600.0)
    timeline.resume(latency_s)  # what was taken at 0 is shown at this moment
    latencies = []
    for now_s in (latency_s + 0.5 * step for step in range(400)):
        latencies.append(now_s - timeline.playhead_s(now_s))
        timeline.set_rate(now_s, playback_rate(latencies[-1], target_s, buffer_s=1.0))
        assert RATE_MIN <= timeline.rate <= RATE_MAX
    assert all(abs(late - target_s) <= STEADY_S + 0.03 for late in latencies[-100:])

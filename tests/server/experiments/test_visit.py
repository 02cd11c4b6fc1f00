"""What a visit comes to, by what its player reports."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.core.events import Ended, Shown, Stalled
from abr.core.qoe import experience, switches_per_minute
from server.experiments.tally import SCALES, WIDTH, Tally, change_of
from server.experiments.visit import BOUNDS, Visit, dumps_visit, loads_visit
from server.monitoring.shown_quality import ShownQuality

SEGMENT_S = 4.0


def shown(rendition: str, quality: int) -> Shown:
    """The quality goes where the look-up below finds it."""
    return Shown(
        t_s=0.0,
        segment=quality,
        rendition=rendition,
        enhancer="none",
        frames=100,
        enhanced_frames=0,
        plain_frames=100,
        late_frames=0,
        buffer_s=1.0,
    )


def quality_of(event: Shown) -> ShownQuality | None:
    if event.rendition == "unknown":
        return None
    quality = float(event.segment)
    return ShownQuality(quality=quality, vmaf=0.0, energy_j=0.0, duration_s=SEGMENT_S, enhancer="none")


def stalled(duration_s: float) -> Stalled:
    return Stalled(t_s=0.0, duration_s=duration_s, segment=0)


seen = st.lists(st.tuples(st.sampled_from(["low", "high"]), st.integers(0, 100)), min_size=1, max_size=30)


@given(seen, st.floats(0, 5), st.integers(0, 30))
def test_a_visit_s_figures_are_those_of_the_simulator_however_reports_are_cut(segments, stall_s, cut):
    events = [shown(*each) for each in segments]
    visit = loads_visit(dumps_visit(Visit().after([stalled(stall_s), *events[:cut]], quality_of)))
    found = visit.after([*events[cut:], Ended(t_s=1.0, reason="finished", played_s=1.0)], quality_of).figures()
    assert found is not None
    expected = experience([quality for _, quality in segments], stall_s)
    assert found[0] == pytest.approx(max(-100.0, expected.qoe))
    assert found[1] == pytest.approx(expected.quality)
    media_s = SEGMENT_S * len(segments)
    assert found[2] == pytest.approx(stall_s / (stall_s + media_s))
    assert found[3] == pytest.approx(switches_per_minute([rendition for rendition, _ in segments], media_s))


def test_nothing_is_known_before_a_segment_was_shown():
    assert Visit().figures() is None
    assert Visit().after([stalled(3.0), shown("unknown", 50)], quality_of).figures() is None
    after = Visit().after([stalled(3.0), shown("low", 50)], quality_of)
    assert after.figures() == (-100.0, 50.0, 3 / 7, 0.0), "what came before counts once it plays"


@given(st.lists(st.floats(0, 1e6), max_size=5), seen)
def test_what_a_player_makes_up_stays_within_bounds(stalls, segments):
    visit = Visit().after([*map(stalled, stalls), *(shown(*each) for each in segments)], quality_of)
    figures = visit.figures()
    assert figures is not None
    assert all(low <= value <= high for value, (low, high) in zip(figures, BOUNDS, strict=True))
    assert len(dumps_visit(visit)) < 200


figures = st.tuples(*(st.floats(low, high) for low, high in BOUNDS))


@given(st.lists(figures, min_size=2, max_size=20))
def test_a_tally_knows_mean_and_variance_whatever_a_visit_was_before(visits):
    numbers = (0,) * WIDTH
    for number, visit in enumerate(visits):
        steps = [None, visits[number - 1], visit]  # first nothing, then something else, then what it is in the end
        for before, after in pairwise(steps):
            numbers = tuple(a + b for a, b in zip(numbers, change_of(before, after), strict=True))
    tally = Tally(sessions=0, numbers=numbers)
    assert tally.visits == len(visits)
    for place, scale in enumerate(SCALES):
        values = [visit[place] for visit in visits]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        told = tally.moments(place)
        assert told.mean == pytest.approx(mean, abs=1 / scale)
        assert told.variance == pytest.approx(variance, abs=4 * 200 / scale)


def test_sums_of_some_million_visits_stay_within_64_bits():
    worst = change_of(None, (-100.0, 100.0, 1.0, 60.0))
    assert 5_000_000 * max(worst) < 2**63

"""When networks that learn a stream are published, taken back, or left in peace."""

from __future__ import annotations

from enhancers.workflows.live_publishing import (
    MARGIN,
    VAIN_MAX,
    Lead,
    SaturationDetector,
    is_to_be_taken_back,
    is_tried,
    is_worth_its_bytes,
    lead_of,
)


def lead(trusted: float, vmaf_neg: float = 1.0, samples: int = 2) -> Lead:
    return Lead(samples=samples, trusted=trusted, vmaf_neg=vmaf_neg)


def test_a_lead_is_the_mean_over_the_same_samples():
    assert lead_of([(52.0, 50.0), (54.0, 51.0)], [(50.0, 50.0), (50.0, 49.0)]) == Lead(
        samples=2, trusted=3.0, vmaf_neg=1.0
    )
    assert not is_worth_its_bytes(lead_of([], []), 1, 1000), "nothing is known"


def test_more_bytes_must_win_more():
    assert is_worth_its_bytes(lead(0.5), 25_000, 200_000)
    assert not is_worth_its_bytes(lead(0.5), 150_000, 200_000)
    assert is_worth_its_bytes(lead(1.0), 150_000, 200_000)


def test_nothing_beyond_the_allowance_is_published_whatever_it_wins():
    assert not is_worth_its_bytes(lead(20.0), 25_001, 25_000)
    assert not is_worth_its_bytes(lead(20.0), 25_000, 0)


def test_what_only_sharpens_is_not_published():
    assert not is_worth_its_bytes(lead(5.0, vmaf_neg=-0.1), 1, 1_000_000)


def test_a_publication_that_does_worse_on_newer_samples_is_taken_back_but_not_by_one_sample():
    assert is_to_be_taken_back(lead(-0.5))
    assert not is_to_be_taken_back(lead(-0.5, samples=1))
    assert not is_to_be_taken_back(lead(0.1))


def test_training_rests_after_candidates_in_vain_and_wakes_on_a_scene_change():
    rest = SaturationDetector()
    for loss in (0.80, 0.82, 0.79):
        rest.note_loss(loss)
    for _ in range(VAIN_MAX):
        assert not rest.is_resting
        rest.note_candidate(has_led=False)
    assert rest.is_resting
    assert not rest.note_loss(0.83) and rest.is_resting, "much the same pictures"
    assert rest.note_loss(0.83 * 1.3) and not rest.is_resting
    assert not rest.note_loss(0.83 * 1.3), "the new scene is the usual one by now"


def test_a_later_publication_must_lead_on_two_samples_or_by_much():
    assert is_tried(lead(0.4, samples=1), is_first=True)
    assert not is_tried(lead(0.4, samples=1), is_first=False)
    assert is_tried(lead(0.4, samples=2), is_first=False) and is_tried(lead(1.2, samples=1), is_first=False)


def test_one_candidate_that_leads_keeps_training_going():
    rest = SaturationDetector()
    for has_led in [False] * (VAIN_MAX - 1) + [True] + [False] * (VAIN_MAX - 1):
        rest.note_candidate(has_led)
    assert not rest.is_resting
    assert MARGIN > 0

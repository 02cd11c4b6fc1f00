"""Enhancers that take another time than the profile says: believed after two seconds of film, kept for a week."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
from titles import prepared_title
from viewers import enhanced_library, profile

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.pricing import price
from abr.records import load
from client_player.playback.deadline import DeadlineKeeper, TierCandidate
from client_player.source.speed_drift import (
    EXPIRES_S,
    FRAMES_MIN,
    SeenSpeeds,
    add_seen,
    correct_profile,
    describe_correction,
    load_or_empty,
    save,
    seen_frame_ms,
)

KEY = "test-high@320x180"
NOW_S = 1.8e9


def test_a_tier_that_takes_longer_in_play_is_no_longer_offered_where_it_cannot_keep_up(tmp_path: Path) -> None:
    title, _ = prepared_title()
    table = load(enhanced_library(tmp_path) / "bbb" / ENHANCEMENTS_FILE, EnhancementTable)
    device, deadlines = profile(title), DeadlineKeeper(frame_s=1 / title.fps)
    known = device.best("test-high", 320, 180)
    assert known is not None
    for _ in range(FRAMES_MIN):
        deadlines.cost(TierCandidate(name="content-high", key=KEY, frame_s=0.016)).add(4 * known.p50_ms / 1000)
    seen = seen_frame_ms({key: cost.recent_s for key, cost in deadlines.costs.items()})
    corrected = correct_profile(device, seen)
    now = corrected.best("test-high", 320, 180)
    assert now is not None and now.p50_ms == pytest.approx(4 * known.p50_ms)
    assert now.p95_ms == pytest.approx(4 * known.p95_ms)
    offered = {(choice.rendition, choice.enhancer) for choice in price(title, table, corrected).choices}
    assert (0, "content-high") not in offered and (0, "content-low") in offered
    assert "test-high@320x180 takes" in describe_correction(device, seen)
    assert describe_correction(corrected, seen) == "", "once is enough"


@pytest.mark.parametrize("times", [0.8, 1.2])
def test_less_than_a_quarter_changes_nothing(times: float) -> None:
    device = profile(prepared_title()[0])
    known = device.best("test-high", 320, 180)
    assert known is not None
    assert correct_profile(device, {KEY: times * known.p50_ms}) is device


def test_a_size_that_was_only_reckoned_is_corrected_too_and_no_other() -> None:
    device = profile(prepared_title()[0])
    corrected = correct_profile(device, {"test-high@200x100": 77.0, "nonsense": 3.0})
    assert corrected.best("test-high", 200, 100).p50_ms == pytest.approx(77.0)  # type: ignore[union-attr]
    assert corrected.best("test-high", 320, 180) == device.best("test-high", 320, 180)


def test_a_network_on_one_frame_in_four_is_known_by_its_mean_and_a_moment_says_nothing() -> None:
    times_s = deque([0.040, 0.004, 0.004, 0.004] * 24)
    assert seen_frame_ms({"it@1x1": times_s})["it@1x1"] == pytest.approx(13.0)
    assert seen_frame_ms({"it@1x1": list(times_s)[: FRAMES_MIN - 1]}) == {}


def test_what_was_seen_is_kept_for_a_week_and_for_the_same_networks(tmp_path: Path) -> None:
    device, path = profile(prepared_title()[0]), tmp_path / "cache" / "drift.json"
    save(path, add_seen(load_or_empty(path), device, {KEY: 40.0}, NOW_S))
    save(path, add_seen(load_or_empty(path), device, {KEY: 50.0, "other@1x1": 3.0}, NOW_S + 10))
    kept = load_or_empty(path)
    assert kept.frame_ms(device, NOW_S + 11) == {KEY: 50.0, "other@1x1": 3.0}
    assert kept.frame_ms(device, NOW_S + 11 + EXPIRES_S) == {}
    assert SeenSpeeds(weights_hash="older", entries=kept.entries).frame_ms(device, NOW_S) == {}
    path.write_text("{")
    assert load_or_empty(path) == SeenSpeeds()

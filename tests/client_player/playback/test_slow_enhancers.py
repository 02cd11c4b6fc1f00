"""What a device failed at is remembered over sessions, believed for a while, and forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from titles import prepared_title
from viewers import enhanced_library, profile

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.pricing import price
from abr.records import load
from client_player.playback.deadline import DeadlineKeeper, TierCandidate
from client_player.playback.slow_enhancers import (
    EXPIRES_MAX_S,
    EXPIRES_S,
    SlowEnhancers,
    add_failures,
    adjust_profile,
    load_or_empty,
    save,
    speed_key,
)

KEY = "test-high@320x180"
NOW_S = 1.8e9


def test_a_tier_that_was_too_slow_here_is_not_offered_in_the_next_session(tmp_path: Path) -> None:
    title, _ = prepared_title()
    table = load(enhanced_library(tmp_path) / "bbb" / ENHANCEMENTS_FILE, EnhancementTable)
    device, deadlines = profile(title), DeadlineKeeper(frame_s=1 / title.fps)
    slow = TierCandidate(name="content-high", key=KEY, frame_s=0.016)
    for _ in range(40):
        deadlines.cost(slow).add(0.080)
    deadlines.bar(10.0, slow)

    path = tmp_path / "cache" / "setbacks.json"
    save(path, add_failures(load_or_empty(path), device, deadlines.slow_frame_s, NOW_S))
    known = load_or_empty(path)

    def offered(now_s: float) -> set[tuple[int, str]]:
        choices = price(title, table, adjust_profile(device, known, now_s)).choices
        return {(choice.rendition, choice.enhancer) for choice in choices}

    assert (0, "content-high") not in offered(NOW_S + 60)
    assert {(0, "content-low"), (1, "content-high")} <= offered(NOW_S + 60), "only what failed"
    assert (0, "content-high") in offered(NOW_S + EXPIRES_S + 1), "and not for ever"


def test_each_further_setback_is_believed_for_longer_but_a_week_at_most() -> None:
    title, _ = prepared_title()
    device, known, spans_s = profile(title), SlowEnhancers(), []
    for _ in range(8):
        known = add_failures(known, device, {KEY: 0.08}, NOW_S)
        (entry,) = known.entries
        spans_s.append(entry.until_s - NOW_S)
    assert spans_s == sorted(spans_s) and spans_s[:3] == [EXPIRES_S, 4 * EXPIRES_S, 16 * EXPIRES_S]
    assert spans_s[-1] == EXPIRES_MAX_S


def test_what_failed_at_a_size_that_was_only_reckoned_is_remembered_too() -> None:
    device = profile(prepared_title()[0])
    unmeasured = device.best("test-high", 180, 320)
    assert unmeasured is not None
    wise = adjust_profile(
        device, add_failures(SlowEnhancers(), device, {speed_key(unmeasured): 0.08}, NOW_S), NOW_S + 1
    )
    assert wise.best("test-high", 180, 320).p95_ms == pytest.approx(80.0)  # type: ignore[union-attr]
    assert wise.best("test-high", 320, 180) == device.best("test-high", 320, 180)


def test_experience_of_other_networks_does_not_count() -> None:
    title, _ = prepared_title()
    device = profile(title)
    old = SlowEnhancers(weights_hash="other", entries=add_failures(SlowEnhancers(), device, {KEY: 0.08}, NOW_S).entries)
    assert adjust_profile(device, old, NOW_S + 1) == device
    assert add_failures(old, device, {}, NOW_S).entries == ()


@pytest.mark.parametrize("damage", [b"", b"{", b'{"entries": 3}', b'{"entries":[{"key":"x","frame_ms":-1,"times":0}]}'])
def test_a_damaged_memory_is_no_memory(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "setbacks.json"
    path.write_bytes(damage)
    assert load_or_empty(path) == SlowEnhancers()

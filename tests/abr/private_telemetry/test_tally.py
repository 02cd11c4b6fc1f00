"""A session's events become one vector: what is counted where, and that no word can come around in a sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import device_profile
from titles import prepared_library

from abr.core.events import Decided, Ended, Failed, Playing, Shown, Stalled, Stepped
from abr.private_telemetry.layout import TELEMETRY, WORD_MAX
from abr.private_telemetry.tally import SessionTally
from abr.secure_aggregation.degree import MEMBERS_MAX


def read(vector: np.ndarray, name: str, *labels: str) -> tuple[list[int], float]:
    """Counts of the buckets, and the sum of the values."""
    start, counted = TELEMETRY.find(name, *labels)
    words = vector[start : start + counted.words].tolist()
    return words[:-1], words[-1] * counted.step


def shown(**changes: object) -> Shown:
    fields = {"t_s": 4.0, "segment": 0, "rendition": "180p", "enhancer": "content-low", "frames": 48}
    fields |= {"enhanced_frames": 36, "plain_frames": 12, "late_frames": 3, "buffer_s": 5.0, "enhance_p50_ms": 9.0}
    return Shown(**(fields | changes))


def test_each_event_is_counted_in_its_bucket_with_its_value():
    tally = SessionTally(None)
    for event in (
        Playing(t_s=1.0, startup_s=0.7),
        Stalled(t_s=3.0, duration_s=1.0, segment=1),
        Stalled(t_s=9.0, duration_s=100.0, segment=4),
        Failed(t_s=9.0, what="download", detail=""),
        Stepped(t_s=9.0, segment=0, from_enhancer="a", to_enhancer="b", reason=""),
        Ended(t_s=9.0, reason="finished", played_s=8.0),
    ):
        tally.take(event)
    vector = tally.give()
    assert read(vector, "startup_seconds") == ([0, 0, 1, 0, 0, 0, 0, 0, 0], pytest.approx(0.7))
    assert read(vector, "stall_seconds") == ([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1], pytest.approx(101.0))
    assert read(vector, "failures") == ([], 1.0)
    assert read(vector, "sessions") == ([], 1.0)


def test_a_shown_segment_tells_its_bitrate_its_quality_and_what_enhancing_took():
    title = prepared_library().title("bbb")
    plain = title.plain_quality["180p"].vmaf[0]
    tally = SessionTally(device_profile(title))
    tally.know_title(title)
    decided = Decided(
        t_s=0.0,
        segment=0,
        rendition="180p",
        enhancer="content-low",
        wait_s=0.0,
        reason="",
        promised_vmaf=plain + 20.0,
        promised_quality=plain + 8.0,
        size_bytes=50_000,
    )
    tally.take(decided)
    tally.take(shown())
    vector = tally.give()
    assert read(vector, "vmaf")[1] == pytest.approx(plain + 0.75 * 20.0, abs=0.05)
    assert read(vector, "quality")[1] == pytest.approx(plain + 0.75 * 8.0, abs=0.05)
    assert read(vector, "enhanced_ratio") == ([0, 0, 0, 0, 1, 0, 0, 0], 0.75)
    assert read(vector, "late_frames") == ([0, 0, 0, 1, 0, 0, 0, 0, 0], 3.0)
    duration_s = title.segment_duration_s[0]
    assert read(vector, "video_bytes_per_second")[1] == pytest.approx(50_000 / duration_s, abs=512)
    assert read(vector, "enhance_seconds", "low", "2") == ([0, 0, 0, 0, 1, *[0] * 8], pytest.approx(0.009))
    assert tally.is_empty


@pytest.mark.parametrize(("enhancer", "tier"), [("generic-plan-2", "plan"), ("own-ultra", "ultra")])
def test_plans_count_as_a_tier_of_their_own(enhancer: str, tier: str):
    tally = SessionTally(None)
    tally.take(shown(enhancer=enhancer))
    assert sum(read(tally.give(), "enhance_seconds", tier, "2")[0]) == 1


@pytest.mark.parametrize("enhancer", ["mine", "a-b-c", "", "content-lowest"])
def test_an_enhancer_of_no_tier_has_no_word(enhancer: str):
    tally = SessionTally(None)
    tally.take(shown(enhancer=enhancer))
    start, _ = TELEMETRY.find("enhance_seconds", "low", "2")
    assert not tally.give()[start:].any()


@given(seconds=st.lists(st.floats(0, 1e6), max_size=80))
def test_no_word_comes_around_whatever_a_full_round_hands_in(seconds: list[float]):
    tally = SessionTally(None)
    for duration_s in seconds:
        tally.take(Stalled(t_s=0.0, duration_s=duration_s, segment=0))
    vector = tally.give()
    assert int(vector.max(initial=0)) <= WORD_MAX
    assert WORD_MAX * MEMBERS_MAX < 1 << 32
    assert sum(read(vector, "stall_seconds")[0]) == len(seconds)


def test_what_a_failed_round_had_is_in_the_next_vector():
    tally = SessionTally(None)
    tally.take(Playing(t_s=1.0, startup_s=0.7))
    vector = tally.give()
    tally.take(Playing(t_s=1.0, startup_s=0.7))
    tally.give_back(vector)
    assert np.array_equal(tally.give(), 2 * vector)

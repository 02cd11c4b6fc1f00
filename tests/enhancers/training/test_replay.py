"""What is remembered of a stream: as many bytes as agreed, and what is hard and new."""

from __future__ import annotations

import numpy as np

from enhancers.training.patches import PatchBatch
from enhancers.training.replay import HALF_LIFE_SEGMENTS, ReplayBuffer

PATCH_BYTES = 8 * 8 + 2 * 16 * 16


def patches(count: int, error: int, mark: int = 0) -> PatchBatch:
    """`mark` is the value of all low pixels, to know them again."""
    plain = np.full((count, 16, 16), 100, np.uint8)
    return PatchBatch(low=np.full((count, 8, 8), mark, np.uint8), plain=plain, target=plain + np.uint8(error))


def marks(buffer: ReplayBuffer, draws: int = 400) -> list[int]:
    return buffer.batch(0, draws).low[:, 0, 0].tolist()


def test_a_stream_of_any_length_takes_no_more_bytes_than_agreed():
    buffer = ReplayBuffer(20 * PATCH_BYTES, seed=1)
    for segment in range(10):
        buffer.add(patches(7, 10), segment)
        assert buffer.stored_bytes <= 20 * PATCH_BYTES
    assert len(buffer) == 20


def test_easy_patches_go_before_hard_ones_of_their_age():
    buffer = ReplayBuffer(10 * PATCH_BYTES, seed=1)
    buffer.add(patches(10, 2, mark=1), 0)
    buffer.add(patches(10, 20, mark=2), 1)
    assert set(marks(buffer)) == {2}


def test_old_patches_go_before_new_ones_as_hard():
    buffer = ReplayBuffer(10 * PATCH_BYTES, seed=1)
    buffer.add(patches(10, 10, mark=1), 0)
    buffer.add(patches(6, 10, mark=2), int(HALF_LIFE_SEGMENTS))
    drawn = marks(buffer)
    assert set(drawn) == {1, 2} and drawn.count(2) > drawn.count(1)
    buffer.add(patches(4, 10, mark=3), 2 * int(HALF_LIFE_SEGMENTS))
    assert set(marks(buffer)) == {2, 3}, "the oldest are gone"


def test_harder_patches_are_drawn_more_often_and_one_step_always_draws_the_same():
    buffer = ReplayBuffer(100 * PATCH_BYTES, seed=1)
    buffer.add(patches(10, 5, mark=1), 0)
    buffer.add(patches(10, 20, mark=2), 0)
    drawn = marks(buffer)
    assert drawn.count(2) > 2 * drawn.count(1) > 0
    assert marks(buffer) == drawn

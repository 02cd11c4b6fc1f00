"""The file of a frame plan: small, exact, and read with no trust in it."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.core.frame_plan import EXITS_MAX, MAGIC, Action, FramePlan, dumps_plan, loads_plan
from abr.errors import FormatError

DIGEST = hashlib.sha256(b"weights").hexdigest()
HEAD_BYTES = len(MAGIC) + 37


@st.composite
def plans(draw: st.DrawFn) -> FramePlan:
    exits = draw(st.integers(1, EXITS_MAX))
    known = st.integers(0, Action.FIRST_EXIT + exits - 1)
    segments = draw(st.lists(st.lists(known, min_size=1, max_size=40), min_size=1, max_size=5))
    for actions in segments:
        actions[0] = 0 if actions[0] == Action.CARRY else actions[0]
    return FramePlan(
        weights_sha256=DIGEST, exits=exits, actions=tuple(np.array(actions, np.uint8) for actions in segments)
    )


def lengths_of(plan: FramePlan) -> list[int]:
    return [len(actions) for actions in plan.actions]


@given(plans())
def test_what_is_written_is_read(plan: FramePlan) -> None:
    again = loads_plan(dumps_plan(plan), lengths_of(plan))
    assert (again.weights_sha256, again.exits) == (plan.weights_sha256, plan.exits)
    assert [actions.tolist() for actions in again.actions] == [actions.tolist() for actions in plan.actions]


@given(plans(), st.data())
def test_a_changed_file_is_refused_or_is_a_plan_that_can_be_followed(plan: FramePlan, data: st.DataObject) -> None:
    written = bytearray(dumps_plan(plan))
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= data.draw(st.integers(1, 255))
    try:
        read = loads_plan(bytes(written), lengths_of(plan))
    except FormatError as error:
        assert str(error).startswith(("this frame plan", "A frame plan"))
        return
    read.check()
    assert lengths_of(read) == lengths_of(plan)


@given(st.binary(max_size=200))
def test_any_bytes_give_one_clear_error(data: bytes) -> None:
    for hostile in (data, MAGIC + data, MAGIC + bytes(32) + b"\x03" + (10).to_bytes(4, "little") + data):
        with pytest.raises(FormatError, match=r"frame plan"):
            loads_plan(hostile, [10, 10])


def test_a_bomb_is_not_unpacked() -> None:
    bomb = MAGIC + bytes(32) + b"\x03" + (8).to_bytes(4, "little") + zlib.compress(bytes(1 << 18), 9)
    with pytest.raises(FormatError, match=r"longer than its frames need|too early or too late"):
        loads_plan(bomb, [8])


def test_a_plan_of_another_title_is_refused() -> None:
    plan = FramePlan(weights_sha256=DIGEST, exits=3, actions=(np.array([2, 1, 1], np.uint8),))
    with pytest.raises(FormatError, match="is for 3 frames; the title has 4"):
        loads_plan(dumps_plan(plan), [4])


def test_a_key_frame_cannot_be_carried() -> None:
    plan = FramePlan(weights_sha256=DIGEST, exits=3, actions=tuple(np.array([2, 1], np.uint8) for _ in range(2)))
    with pytest.raises(FormatError, match="carries into segment 1"):
        loads_plan(dumps_plan(plan), [1, 3])
    with pytest.raises(FormatError, match="carries into segment 0"):
        dumps_plan(replace(plan, actions=(np.array([1, 0], np.uint8),)))


def test_a_frame_takes_little_more_than_a_bit() -> None:
    random = np.random.default_rng(1)
    lengths = random.integers(3, 12, 200)
    runs = [[int(random.integers(2, 5)), *[1] * int(length - 1)] for length in lengths]
    actions = np.array([action for run in runs for action in run], np.uint8)
    plan = FramePlan(weights_sha256=DIGEST, exits=3, actions=(actions,))
    assert (len(dumps_plan(plan)) - HEAD_BYTES) * 8 < 1.25 * len(actions)


def test_shares_add_up() -> None:
    plan = FramePlan(weights_sha256=DIGEST, exits=2, actions=(np.array([3, 1, 0, 1], np.uint8),))
    assert plan.shares() == (0.25, 0.5, 0.0, 0.25)

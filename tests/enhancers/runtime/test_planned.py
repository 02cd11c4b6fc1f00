"""An enhancer that does for each frame what it is told: exits as the tiers show them, gains carried, nothing plain."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from titles import CLIP

from abr.core.frame_plan import Action
from enhancers.measurement.speed import encode_rung
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights
from enhancers.networks.untrained import add_untrained_chroma
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, decode_segment
from enhancers.runtime.loader import load_exits, open_planned, open_weights
from enhancers.runtime.planned import PlannedEnhancer

SIZES = {"size_px": (320, 180), "display_px": (1280, 720)}
CARRY, LOW, HIGH = int(Action.CARRY), int(Action.FIRST_EXIT), int(Action.FIRST_EXIT) + 2


@cache
def exits() -> list[Weights]:
    networks = load_exits(catalog.generic_chunks(catalog.architecture(4)))
    return [each for each in networks if isinstance(each, Weights)]


@cache
def frames() -> list[Frame]:
    return list(decode_segment(encode_rung(CLIP, (320, 180), frames=6), motion=True))


def planned() -> PlannedEnhancer:
    return open_planned(exits(), "", **SIZES)


def assert_same(shown: Frame, expected: Frame) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(shown.planes(), expected.planes(), strict=True))


def test_an_exit_shows_what_its_tier_shows() -> None:
    enhancer = planned()
    tiers = [open_weights(each, "", **SIZES) for each in exits()]
    for number, frame in enumerate(frames()[:3]):
        shown, done = enhancer.perform(frame, LOW + number)
        assert done == LOW + number
        assert_same(shown, tiers[number].enhance(frame))


def test_nothing_is_the_plain_picture() -> None:
    shown, done = planned().perform(frames()[0], Action.NOTHING)
    assert done == Action.NOTHING
    assert_same(shown, PlainScaler(320, 180, 1280, 720).enhance(frames()[0]))


def test_a_carried_gain_is_nearer_to_the_lifted_picture_than_the_plain_one() -> None:
    enhancer, tier, plain = planned(), open_weights(exits()[-1], "", **SIZES), PlainScaler(320, 180, 1280, 720)
    enhancer.perform(frames()[0], HIGH)
    for frame in frames()[1:4]:
        shown, done = enhancer.perform(frame, CARRY)
        assert done == CARRY
        lifted = tier.enhance(frame).y.astype(np.float32)
        misses = [float(np.mean((each.y - lifted) ** 2)) for each in (shown, plain.enhance(frame))]
        assert misses[0] < 0.5 * misses[1]


def test_chroma_is_carried_where_a_network_lifts_it() -> None:
    enhancer = open_planned([add_untrained_chroma(exits()[0])], "", **SIZES)
    plain = PlainScaler(320, 180, 1280, 720)
    for frame, action in zip(frames(), (LOW, CARRY), strict=False):
        shown, done = enhancer.perform(frame, action)
        assert done == action
        assert not np.array_equal(shown.u, plain.enhance(frame).u)


def test_nothing_is_carried_from_nowhere() -> None:
    enhancer = planned()
    assert enhancer.perform(frames()[0], CARRY)[1] == Action.NOTHING  # no frame before
    assert enhancer.perform(frames()[1], CARRY)[1] == Action.NOTHING  # no gain before
    enhancer.perform(frames()[2], LOW)
    assert enhancer.perform(frames()[4], CARRY)[1] == Action.NOTHING  # a frame is missing
    enhancer.perform(frames()[0], LOW)
    assert enhancer.perform(frames()[1], CARRY)[1] == CARRY


def test_an_action_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="has no action 5"):
        planned().perform(frames()[0], HIGH + 1)

"""The deadline keeper: no frame is gambled with, tiers step down before frames are late and come back after calm."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from client_player.playback.deadline import CALM_S, DeadlineKeeper, TierCandidate

FRAME_S = 0.04
HIGH = TierCandidate(name="content-high", key="high", frame_s=0.020)
LOW = TierCandidate(name="content-low", key="low", frame_s=0.005)


def _deadlines() -> DeadlineKeeper:
    return DeadlineKeeper(frame_s=FRAME_S)


@given(st.floats(0, 5), st.floats(0.001, 0.5), st.floats(0, 0.05))
def test_enhancing_is_allowed_only_when_its_careful_cost_fits(slack_s: float, cost_s: float, plain_s: float) -> None:
    deadlines = _deadlines()
    deadlines.plain.add(plain_s)
    deadlines.cost(HIGH).add(cost_s)
    if deadlines.allows(10.0, 10.0 + slack_s, HIGH):
        assert slack_s >= deadlines.cost(HIGH).careful_s + deadlines.plain.careful_s


@given(st.lists(st.floats(0.001, 2.0), min_size=1, max_size=50))
def test_careful_cost_never_promises_less_than_the_last_frame_took(costs_s: list[float]) -> None:
    cost = _deadlines().cost(HIGH)
    for seconds in costs_s:
        cost.add(seconds)
        assert cost.careful_s >= min(seconds, 1.0) - 1e-9
    assert 0 < cost.typical_s <= max(*costs_s, HIGH.frame_s)


def test_an_enhancer_slower_than_the_film_steps_down_before_any_frame_falls_back() -> None:
    deadlines, now_s, ahead_s = _deadlines(), 0.0, 2.0
    choice, _ = deadlines.pick(now_s, (HIGH, LOW))
    assert choice is HIGH
    frames = 0
    while deadlines.find_overload(now_s, now_s + ahead_s, HIGH) is None:
        assert deadlines.allows(now_s, now_s + ahead_s, HIGH), "it fell back before it stepped down"
        deadlines.cost(HIGH).add(0.060)
        now_s, ahead_s, frames = now_s + 0.060, ahead_s - 0.020, frames + 1
        assert frames < 200
    deadlines.bar(now_s, HIGH)
    choice, step = deadlines.pick(now_s, (HIGH, LOW))
    assert choice is LOW
    assert step is not None and (step.before, step.after) == ("content-high", "content-low")


def test_a_barred_tier_comes_back_after_a_calm_minute_and_then_needs_longer() -> None:
    deadlines = _deadlines()
    deadlines.pick(0.0, (HIGH, LOW))
    deadlines.bar(0.0, HIGH)
    assert deadlines.pick(CALM_S - 1, (HIGH, LOW))[0] is LOW
    choice, step = deadlines.pick(CALM_S + 1, (HIGH, LOW))
    assert choice is HIGH and step is not None and "calm" in step.reason
    deadlines.bar(CALM_S + 1, HIGH)
    assert deadlines.pick(2 * CALM_S + 2, (HIGH, LOW))[0] is LOW, "what failed twice is not believed after one minute"
    assert deadlines.pick(3 * CALM_S + 2, (HIGH, LOW))[0] is HIGH


def test_what_costs_more_than_a_failed_tier_is_not_tried_either() -> None:
    deadlines = _deadlines()
    deadlines.bar(0.0, LOW)
    assert deadlines.pick(1.0, (HIGH, LOW))[0] is None


def test_steps_are_told_once_not_for_every_segment() -> None:
    deadlines = _deadlines()
    deadlines.pick(0.0, (HIGH, LOW))
    deadlines.bar(0.0, HIGH)
    steps = [deadlines.pick(float(second), (HIGH, LOW))[1] for second in range(1, 20)]
    assert sum(step is not None for step in steps) == 1


def test_a_single_freak_frame_does_not_condemn_a_tier() -> None:
    deadlines = _deadlines()
    now_s, ahead_s = 0.0, 2.4
    for number in range(500):
        cost_s = 0.9 if number == 100 else 0.020
        if deadlines.allows(now_s, now_s + ahead_s, HIGH):
            deadlines.cost(HIGH).add(cost_s)
        else:
            cost_s = 0.002
        now_s, ahead_s = now_s + cost_s, min(2.4, ahead_s + FRAME_S - cost_s)
        assert deadlines.find_overload(now_s, now_s + ahead_s, HIGH) is None


@settings(deadline=None, max_examples=30)
@given(st.floats(0.5, 4.0), st.floats(0.002, 0.02), st.integers(0, 2**16))
def test_frames_are_never_late_while_plain_scaling_keeps_up(slowdown: float, plain_s: float, seed: int) -> None:
    """The whole loop against a device whose speed changes in mid-session, costs jittering by a fifth."""
    import random

    jitter = random.Random(seed)
    deadlines, now_s, ready_ahead_s, late = _deadlines(), 0.0, 2.4, 0
    candidates = (HIGH, LOW)
    choice, _ = deadlines.pick(now_s, candidates)
    for number in range(1500):
        due_s = now_s + ready_ahead_s
        factor = slowdown * (2.0 if number > 700 else 1.0) * jitter.uniform(0.9, 1.1)
        if choice is not None and deadlines.allows(now_s, due_s, choice):
            cost_s = choice.frame_s * factor
            deadlines.cost(choice).add(cost_s)
        else:
            cost_s = plain_s
            deadlines.plain.add(cost_s)
        now_s += cost_s
        late += now_s > due_s
        if choice is not None and deadlines.find_overload(now_s, due_s, choice):
            deadlines.bar(now_s, choice)
            choice, _ = deadlines.pick(now_s, candidates)
        ready_ahead_s = due_s + FRAME_S - now_s
        if ready_ahead_s > 2.4:  # the queue is full: rest
            now_s, ready_ahead_s = due_s + FRAME_S - 2.4, 2.4
    assert late < 15


PLAN = TierCandidate(
    name="content-plan-1",
    key="plan",
    frame_s=0.02,
    actions=tuple(
        TierCandidate(name="content-plan-1", key=key, frame_s=seconds)
        for key, seconds in (("upscale", 0.001), ("carry", 0.003), ("exit 1", 0.02), ("exit 2", 0.1))
    ),
)


def test_an_action_is_lowered_to_the_costliest_that_there_is_time_for() -> None:
    deadlines = _deadlines()
    lowered = [deadlines.lower_action(0.0, slack_s, PLAN, 3) for slack_s in (0.2, 0.1, 0.02, 0.001)]
    assert lowered == [3, 2, 1, 0]
    assert deadlines.lower_action(0.0, 0.2, PLAN, 1) == 1, "a plan is never raised"


def test_a_heavy_frame_is_no_overload_while_the_mean_fits() -> None:
    deadlines, now_s = _deadlines(), 0.0
    for number in range(300):
        deadlines.cost(PLAN).add(0.2 if number % 10 == 0 else 0.003)
        now_s += FRAME_S
        assert deadlines.lower_action(now_s, now_s + 0.5, PLAN, 1) == 1
        assert deadlines.find_overload(now_s, now_s + 0.5, PLAN) is None


def test_a_plan_that_is_lowered_again_and_again_is_left() -> None:
    deadlines = _deadlines()
    for number in range(12):
        assert deadlines.lower_action(number * FRAME_S, number * FRAME_S + 0.01, PLAN, 3) == 1
    assert "content-plan-1" in (deadlines.find_overload(0.5, 0.51, PLAN) or "")

"""Plans of a rendition: within their budgets, better for more, and with as many exits as they use."""

from __future__ import annotations

from functools import cache
from itertools import islice

import numpy as np
import pytest
from titles import CLIP

from abr.core.frame_plan import Action
from enhancers.measurement.speed import encode_rung
from enhancers.networks import catalog
from enhancers.planning.kept_gain import measure_kept
from enhancers.planning.segment_plans import BUDGETS, RungGains, deepest_exit, plan_rung
from enhancers.runtime.frames import Frame, decode_segment
from enhancers.runtime.loader import load_exits, open_network


def known(segments: int = 3, frames: int = 110) -> RungGains:
    kept = np.full(frames, 0.97)
    kept[0] = kept[40] = 0.0  # a cut
    return RungGains(
        gains=(np.array([[12.0, 14.0, 16.0]]),) * segments, kept=(kept,) * segments, macs=(1458.0, 3186.0, 6066.0)
    )


def test_more_budget_brings_more_and_none_is_exceeded() -> None:
    plans = plan_rung(known(), "00" * 32)
    assert [each.load <= budget for each, budget in zip(plans, BUDGETS, strict=True)] == [True] * len(BUDGETS)
    gains = [each.expected_gain for each in plans]
    assert gains == sorted(gains)
    assert gains[1] > 12.0 * 0.5 + 1  # half a run of the first exit a frame: more than that exit on every other frame
    for each in plans:
        each.plan.check()


def test_nothing_is_carried_over_a_cut_or_a_seam() -> None:
    for each in plan_rung(known(), "00" * 32):
        for actions in each.plan.actions:
            assert actions[40] != Action.CARRY
            assert actions[0] != Action.CARRY


def test_segments_that_lose_are_left_plain() -> None:
    gains = np.array([[12.0, 14.0, 16.0]]), np.array([[-1.0, -1.0, -1.0]])
    some = known(2)
    for each in plan_rung(RungGains(gains=gains, kept=some.kept, macs=some.macs), "00" * 32):
        assert not each.plan.actions[1].any()
        assert each.plan.actions[0].any()


def test_an_exit_that_adds_next_to_nothing_is_not_downloaded_for() -> None:
    kept = known(2).kept
    for second, depth in ((12.1, 1), (20.0, 2)):
        some = RungGains(gains=(np.array([[12.0, second]]),) * 2, kept=kept, macs=(1458.0, 3186.0))
        assert deepest_exit(plan_rung(some, "00" * 32, (1.0,))[0].plan) == depth


def test_a_plan_names_the_exits_that_it_uses() -> None:
    gains = (np.array([[12.0, 12.1, 12.2]]),) * 2
    cheap = plan_rung(RungGains(gains=gains, kept=known(2).kept, macs=known().macs), "00" * 32, (0.5,))
    assert deepest_exit(cheap[0].plan) == 1


@cache
def frames() -> list[Frame]:
    return list(islice(decode_segment(encode_rung(CLIP, (320, 180), frames=12), motion=True), 12))


def test_what_is_kept_is_a_share_and_nothing_is_kept_over_a_gap() -> None:
    network = open_network(
        load_exits(catalog.generic_chunks(catalog.architecture(4)))[0], "", size_px=(320, 180), display_px=(1280, 720)
    )
    kept = measure_kept(frames(), network, 4.0)
    assert kept[0] == 0
    assert ((kept[1:] > 0.8) & (kept[1:] <= 1)).all()
    gap = measure_kept([*frames()[:4], *frames()[6:]], network, 4.0)
    assert gap[4] == 0
    assert gap[1:4] == pytest.approx(kept[1:4])

"""Frame plans in a menu: offered to devices that tiers leave less to, priced by their own milliseconds an action."""

from __future__ import annotations

import numpy as np
import pytest
from plan_tables import CARRY_MS, GAIN, HIGH_MS, LOW_MS, SHARES, UPSCALE_MS, device, planned_table
from titles import prepared_title

from abr.core.options import PriceList
from abr.core.pricing import PLAN_WORTH, price
from abr.core.title import Title


def offered(times: float, **more: bool) -> tuple[Title, PriceList, list[str]]:
    title, _ = prepared_title()
    prices = price(title, planned_table(title), device(times, **more))
    return title, prices, [choice.enhancer for choice in prices.choices if choice.rendition == 0]


def test_a_device_too_slow_for_every_tier_gets_the_plan_that_it_can_follow() -> None:
    title, prices, names = offered(4.0)
    assert names == ["none", "content-plan-2"]
    option = 1
    mean_ms = np.dot(SHARES[2], [UPSCALE_MS, CARRY_MS, LOW_MS, HIGH_MS]) * 4.0
    assert prices.compute_s[:, option].sum() == pytest.approx(sum(title.segment_frames) * mean_ms / 1000)
    assert prices.weights[option] == ("one", "two", "plan-2")
    assert (prices.quality[:, option] - prices.quality[:, 0]).mean() == pytest.approx(GAIN[2])
    assert offered(8.0)[2] == ["none", "content-plan-1"]
    assert offered(20.0)[2] == ["none"]


def test_between_two_tiers_a_plan_takes_its_place_beside_the_lighter_one() -> None:
    assert offered(1.5)[2] == ["none", "content-low", "content-plan-2"]


def test_a_device_that_runs_the_best_tier_has_the_menu_it_always_had() -> None:
    assert GAIN["high"] + PLAN_WORTH > GAIN[2]
    assert offered(1.0)[2] == ["none", "content-low", "content-high"]


def test_a_device_that_has_not_measured_what_plans_do_is_offered_none() -> None:
    assert offered(4.0, plans=False)[2] == ["none"]
    assert offered(1.5, plans=False)[2] == ["none", "content-low"]

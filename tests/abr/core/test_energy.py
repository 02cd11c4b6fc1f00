"""Energy on the menu: what an option costs in joules, and what a viewer's wish makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from titles import prepared_title

from abr.controllers import CONTROLLERS
from abr.core.device import Device, DeviceProfile, EnergySource, Measurement, PowerModel, Wish
from abr.core.energy import WISH_POINTS, energy_source, frame_energy_j
from abr.core.enhancement import EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.options import PriceList
from abr.core.pricing import price
from abr.core.title import Title
from abr.simulation.batch_simulator import simulate_many
from abr.simulation.traces import constant

GAINS = {"low": 6.0, "high": 7.0}
WATTS = {"low": 1.0, "high": 6.0}
SPAN_W = 10.0


def table_of(title: Title) -> EnhancementTable:
    """Two tiers for the lowest rung: one gains 6 points, one gains 7."""
    rung = title.renditions[0].id
    plain = title.plain_quality[rung]
    entries = tuple(
        EnhancerEntry(
            name=f"generic-{tier}",
            family=Family.GENERIC,
            tier=Tier(tier),
            offers=(
                Offer(
                    rendition=rung,
                    architecture=tier,
                    weights_sha256="",
                    chunks=(),
                    macs_per_output_px=1.0,
                    quality=replace(plain, vmaf=tuple(vmaf + gain for vmaf in plain.vmaf), trusted=()),
                ),
            ),
        )
        for tier, gain in GAINS.items()
    )
    return EnhancementTable(title=title.id, meter=title.meter, enhancers=entries)


def profile_of(title: Title, wish: Wish = Wish.QUALITY, *, metered: bool = True) -> DeviceProfile:
    """A device of 2 to 12 W; tier low takes 1 W of it, and high 6 W."""
    rung = title.renditions[0]
    return DeviceProfile(
        device=Device(name="any", processor="any", cores=2, memory_bytes=1),
        measurements=tuple(
            Measurement(
                architecture=tier,
                width_px=rung.width_px,
                height_px=rung.height_px,
                backend="b",
                threads=1,
                p50_ms=10.0,
                p95_ms=12.0,
                energy_mj=1000 * watts / title.fps if metered else 0.0,
                energy_source=EnergySource.RAPL if metered else None,
            )
            for tier, watts in WATTS.items()
        ),
        power=PowerModel(idle_w=2.0, full_w=2.0 + SPAN_W, assumed=False),
        wish=wish,
    )


def priced(wish: Wish = Wish.QUALITY, *, metered: bool = True) -> PriceList:
    title, _ = prepared_title()
    return price(title, table_of(title), profile_of(title, wish, metered=metered))


def names(prices: PriceList) -> list[str]:
    return [choice.enhancer for choice in prices.choices if choice.rendition == 0]


def test_an_option_has_joules_and_plain_playback_has_none() -> None:
    prices = priced()
    assert names(prices) == ["none", "generic-low", "generic-high"]
    for option, watts in enumerate((0.0, WATTS["low"], WATTS["high"])):
        assert prices.energy_j(1, option) == pytest.approx(watts * prices.duration_s[1])
    assert prices.menu(0, 2).energy_w is prices.energy_w
    watts_w = prices.menu(0, 2).only([2, 1]).energy_w
    assert watts_w is not None and watts_w.tolist() == pytest.approx([6.0, 1.0])


@pytest.mark.parametrize("controller", sorted(CONTROLLERS))
def test_for_quality_nothing_changes_whatever_is_known_of_energy(controller: str) -> None:
    known, unknown = priced(), priced(metered=False)
    for table in ("size_bytes", "compute_s", "lead_s", "quality", "vmaf"):
        assert getattr(known, table).tobytes() == getattr(unknown, table).tobytes()
    assert known.energy_points is None and known.choices == unknown.choices
    traces = [constant(rate_bps, 0.05) for rate_bps in (3e5, 1e6, 4e6)]
    shown = [simulate_many(prices, traces, CONTROLLERS.get(controller)()).shown for prices in (known, unknown)]
    np.testing.assert_array_equal(*shown)


def test_a_saver_is_offered_what_is_worth_its_energy_at_a_quality_less_its_price() -> None:
    prices, plainly = priced(Wish.SAVER), priced()
    assert names(prices) == ["none", "generic-low"], "7 points are not worth 6 W of 10"
    points = WISH_POINTS[Wish.SAVER] * WATTS["low"] / SPAN_W
    assert 0 < points < GAINS["low"]
    np.testing.assert_allclose(prices.quality[:, 1], plainly.quality[:, 1] - points)
    np.testing.assert_array_equal(prices.quality[:, 0], plainly.quality[:, 0])
    for segment in range(2):
        assert prices.shown_quality(segment, 1) == pytest.approx(float(plainly.quality[segment, 1]))


def test_between_the_two_the_better_tier_stays_but_loses_its_lead() -> None:
    prices = priced(Wish.BALANCED)
    assert names(prices) == ["none", "generic-low", "generic-high"]
    low, high = prices.quality[:, 1].mean(), prices.quality[:, 2].mean()
    assert low > high > prices.quality[:, 0].mean()


def test_sessions_that_save_take_less_energy_and_are_judged_by_what_is_seen() -> None:
    trace, toprung = [constant(3e5, 0.05)], CONTROLLERS.get("toprung")
    by_wish = {wish: simulate_many(priced(wish), trace, toprung()) for wish in Wish}
    energy = {wish: float(sessions.energy_mj_per_minute[0]) for wish, sessions in by_wish.items()}
    assert energy[Wish.SAVER] <= energy[Wish.BALANCED] < 0.5 * energy[Wish.QUALITY]
    seen = {wish: float(sessions.quality.mean()) for wish, sessions in by_wish.items()}
    assert seen[Wish.QUALITY] - 5 < seen[Wish.BALANCED] <= seen[Wish.QUALITY]
    for sessions in by_wish.values():
        np.testing.assert_allclose(sessions.quality, sessions.vmaf)


def test_energy_that_was_not_measured_is_reckoned_and_called_an_estimate() -> None:
    title, _ = prepared_title()
    profile = profile_of(title, metered=False)
    assert frame_energy_j(profile, profile.measurements[0]) == pytest.approx(0.010 * SPAN_W / 2), "one core of two"
    assert energy_source(profile) is EnergySource.MODEL
    assert energy_source(profile_of(title)) is EnergySource.RAPL
    mixed = replace(profile, measurements=(profile_of(title).measurements[0], profile.measurements[1]))
    assert energy_source(mixed) is EnergySource.MODEL

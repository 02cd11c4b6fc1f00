"""Prices in either currency: what counts, what is told beside it, and what older titles say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec.structs import replace
from titles import prepared_title

from abr.core.device import DecodeSpeed, Device, DeviceProfile, Measurement
from abr.core.enhancement import Currency, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.options import Choice
from abr.core.pricing import TitleOptions, price
from abr.core.title import Quality, Title
from abr.errors import FormatError
from abr.records import dumps, loads

LIFT, TRUSTED = 9.0, 3.0
PROFILE = DeviceProfile(
    device=Device(name="any", processor="any", cores=1, memory_bytes=1 << 30),
    measurements=(
        Measurement(architecture="a", width_px=320, height_px=180, backend="b", threads=1, p50_ms=1.0, p95_ms=1.0),
    ),
    weights_hash="",
)


def table_of(title: Title, quality: Quality) -> EnhancementTable:
    """One enhancer of the lowest rung."""
    offer = Offer(
        rendition=title.renditions[0].id,
        architecture="a",
        weights_sha256="",
        chunks=(),
        macs_per_output_px=1.0,
        quality=quality,
    )
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=(offer,))
    return EnhancementTable(title=title.id, meter=title.meter, enhancers=(entry,))


def lifted(plain: Quality, trusted: float | None) -> Quality:
    """LIFT points of VMAF, of which `trusted` are attested."""
    counted = () if trusted is None else tuple(vmaf + trusted for vmaf in plain.vmaf)
    return replace(plain, vmaf=tuple(vmaf + LIFT for vmaf in plain.vmaf), trusted=counted)


def gains(currency: Currency, trusted: float | None) -> tuple[float, float]:
    """By how much the enhancer is better than plain, in what counts and in VMAF."""
    title, _ = prepared_title()
    plain = title.plain_quality[title.renditions[0].id]
    prices = price(title, table_of(title, lifted(plain, trusted)), PROFILE, currency=currency)
    option = prices.choices.index(Choice(rendition=0, enhancer="generic-low"))
    menu = prices.menu(0, 2)
    np.testing.assert_array_equal(menu.quality, prices.quality[:2])
    counted, vmaf = (table[:, option] - table[:, 0] for table in (prices.quality, prices.vmaf))
    return float(counted.mean()), float(vmaf.mean())


def test_trusted_quality_counts_and_vmaf_is_told_beside_it() -> None:
    assert gains(Currency.TRUSTED, TRUSTED) == pytest.approx((TRUSTED, LIFT))
    assert gains(Currency.VMAF, TRUSTED) == pytest.approx((LIFT, LIFT))


def test_vmaf_counts_where_a_title_tells_nothing_of_a_panel() -> None:
    assert gains(Currency.TRUSTED, None) == pytest.approx((LIFT, LIFT))


def test_an_enhancer_without_trusted_gain_is_no_option_unless_vmaf_counts() -> None:
    title, _ = prepared_title()
    table = table_of(title, lifted(title.plain_quality[title.renditions[0].id], 0.0))
    names = [{choice.enhancer for choice in price(title, table, PROFILE, currency=each).choices} for each in Currency]
    assert names == [{"none"}, {"none", "generic-low"}]


def test_trusted_quality_must_cover_the_title() -> None:
    title, _ = prepared_title()
    short = replace(lifted(title.plain_quality[title.renditions[0].id], TRUSTED), trusted=(50.0,))
    with pytest.raises(FormatError, match="tells the quality of 1 segments"):
        price(title, table_of(title, short), PROFILE)


def test_devices_that_are_offered_the_same_share_sizes_and_quality_but_not_costs() -> None:
    title, _ = prepared_title()
    options = TitleOptions(title, table_of(title, lifted(title.plain_quality[title.renditions[0].id], TRUSTED)))
    quick, bare = options.price(PROFILE), options.price()
    (measured,) = PROFILE.measurements
    slow = options.price(replace(PROFILE, measurements=(replace(measured, p95_ms=4.0),)))
    assert slow.size_bytes is quick.size_bytes
    assert slow.quality is quick.quality
    assert len(bare.choices) == len(quick.choices) - 1
    for one, ms in ((quick, 1.0), (slow, 4.0)):
        assert one.compute_s[:, 1].sum() == pytest.approx(sum(title.segment_frames) * ms / 1000)


def test_a_title_without_a_panel_is_read_as_it_was_written() -> None:
    title, _ = prepared_title()
    told = json.loads(dumps(title))
    told["meter"].pop("panel_every_segments", None)
    for quality in told["plain_quality"].values():
        quality.pop("panel", None)
    old = loads(json.dumps(told), Title, what="title")
    assert old.meter.panel_every_segments == 0
    assert all(quality.panel is None and quality.trusted == () for quality in old.plain_quality.values())
    assert json.loads(dumps(old)) == told


def decoding(title: Title, p95_ms: float) -> DeviceProfile:
    """PROFILE of a device that takes so long for a frame of the lowest rung."""
    lowest = title.renditions[0]
    speed = DecodeSpeed(
        sample_entry=lowest.sample_entry,
        width_px=lowest.width_px,
        height_px=lowest.height_px,
        p50_ms=p95_ms,
        p95_ms=p95_ms,
    )
    return replace(PROFILE, decoding=(speed,))


def test_a_lifted_frame_is_decoded_too_and_a_plain_one_costs_no_lift():
    title, _ = prepared_title()
    lowest = title.renditions[0]
    table = table_of(title, lifted(title.plain_quality[lowest.id], None))
    option = Choice(rendition=0, enhancer="generic-low")

    def frame_ms(profile: DeviceProfile) -> float:
        prices = price(title, table, profile)
        plain = prices.compute_s[:, prices.choices.index(Choice(rendition=0))]
        assert not plain.any()
        return float(prices.compute_s[0, prices.choices.index(option)]) * 1000 / title.segment_frames[0]

    alone_ms = frame_ms(PROFILE)
    assert frame_ms(decoding(title, 2.5)) == pytest.approx(alone_ms + 2.5)
    other = replace(decoding(title, 2.5).decoding[0], sample_entry="av01")
    assert frame_ms(replace(PROFILE, decoding=(other,))) == alone_ms, "it comes in another codec"
    too_slow = decoding(title, 950 / title.fps)
    assert option not in price(title, table, too_slow).choices, "lifting leaves no time to decode"

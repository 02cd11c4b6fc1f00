"""Frame plans in a menu: offered to devices that tiers leave less to, priced by their own milliseconds an action."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from titles import prepared_title

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import (
    ActionShare,
    Chunk,
    EnhancementTable,
    EnhancerEntry,
    Family,
    Offer,
    PlanOffer,
    Tier,
)
from abr.core.options import PriceList
from abr.core.pricing import PLAN_WORTH, price
from abr.core.title import Title

UPSCALE_MS, CARRY_MS, LOW_MS, HIGH_MS = 1.0, 2.0, 10.0, 30.0
"""Of a device that shows 25 frames a second in 36 ms each."""
SHARES = {1: (0.5, 0.4, 0.1, 0.0), 2: (0.0, 0.75, 0.0, 0.25)}
GAIN = {"low": 4.0, "high": 9.0, 1: 3.0, 2: 8.0}


def offer(title: Title, gain: float, architecture: str, chunks: tuple[Chunk, ...]) -> Offer:
    plain = title.plain_quality[title.renditions[0].id]
    quality = replace(plain, trusted=tuple(points + gain for points in plain.vmaf))
    return Offer(
        rendition=title.renditions[0].id,
        architecture=architecture,
        weights_sha256="",
        chunks=chunks,
        macs_per_output_px=1.0,
        quality=quality,
    )


def chunk(name: str, size_bytes: int) -> Chunk:
    return Chunk(file=f"enhancers/{name}", size_bytes=size_bytes, sha256=name)


LOW = (chunk("one", 1000),)
HIGH = (*LOW, chunk("two", 2000))


def table(title: Title) -> EnhancementTable:
    entries = tuple(
        EnhancerEntry(
            name=f"content-{tier}",
            family=Family.CONTENT,
            tier=tier,
            offers=(offer(title, GAIN[tier], f"network-{tier}", chunks),),
        )
        for tier, chunks in ((Tier.LOW, LOW), (Tier.HIGH, HIGH))
    )
    names = ("upscale-x4", "carry-x4", "network-low", "network-high")
    plans = tuple(
        PlanOffer(
            name=f"content-plan-{number}",
            family=Family.CONTENT,
            offer=offer(title, GAIN[number], "network-high", HIGH),
            file=chunk(f"plan-{number}", 50),
            shares=tuple(
                ActionShare(architecture=name, share=share) for name, share in zip(names, shares, strict=True)
            ),
        )
        for number, shares in SHARES.items()
    )
    return EnhancementTable(title=title.id, meter=title.meter, enhancers=entries, plans=plans)


def device(times: float, *, plans: bool = True) -> DeviceProfile:
    """One that takes so many times as long; without plans it is one like the page."""
    known = {"network-low": LOW_MS, "network-high": HIGH_MS}
    known |= {"upscale-x4": UPSCALE_MS, "carry-x4": CARRY_MS} if plans else {}
    return DeviceProfile(
        device=Device(name="any", processor="any", cores=1, memory_bytes=1 << 30),
        measurements=tuple(
            Measurement(
                architecture=name,
                width_px=320,
                height_px=180,
                backend="b",
                threads=1,
                p50_ms=ms * times,
                p95_ms=ms * times,
            )
            for name, ms in known.items()
        ),
    )


def offered(times: float, **more: bool) -> tuple[Title, PriceList, list[str]]:
    title, _ = prepared_title()
    prices = price(title, table(title), device(times, **more))
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

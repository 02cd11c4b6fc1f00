"""A table of two tiers and two frame plans for the test title, and devices that have measured what these do."""

from __future__ import annotations

from msgspec.structs import replace

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


def planned_table(title: Title) -> EnhancementTable:
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

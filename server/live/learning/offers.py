"""What a stream's own networks are worth beside the generic ones, in one table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from abr.core.enhancement import EnhancementTable, EnhancerEntry, Family, Offer
from abr.core.live.learning import LearntNetwork
from abr.core.live.quality import LiveQuality
from abr.core.title import Quality

_MOST = {"vmaf": 100.0, "vmaf_neg": 100.0, "ssim": 1.0, "psnr_y_db": 60.0, "trusted": 100.0}


def with_learnt(quality: LiveQuality, networks: Sequence[LearntNetwork], title: str) -> EnhancementTable | None:
    """The measured offers, and those of the networks that learn the stream."""
    networks = [each for each in networks if each.offer.rendition in quality.plain]
    if not networks:
        return quality.enhancements
    measured = quality.enhancements.enhancers if quality.enhancements else ()
    entries: dict[str, list[Offer]] = {}
    tiers = {}
    for each in networks:
        name = f"{Family.CONTENT}-{each.tier}"
        tiers[name] = each.tier
        offered = moved(each.offer.quality, each.plain, quality.plain[each.offer.rendition])
        entries.setdefault(name, []).append(msgspec.structs.replace(each.offer, quality=offered))
    learnt = [
        EnhancerEntry(name=name, family=Family.CONTENT, tier=tiers[name], offers=tuple(offers))
        for name, offers in entries.items()
    ]
    return EnhancementTable(title=title, meter=quality.meter, enhancers=(*measured, *learnt), note="live")


def moved(lifted: Quality, plain: Quality, usual: Quality) -> Quality:
    """`lifted` where plain playback is worth `usual` in the place of `plain`: the gain was measured on few samples.

    Each has one entry. Plain playback's trusted quality is its VMAF.
    """

    def point(name: str) -> tuple[float, ...]:
        values = getattr(lifted, name)
        if not values:
            return ()
        base = "vmaf" if name == "trusted" else name
        value = getattr(usual, base)[0] + values[0] - getattr(plain, base)[0]
        return (round(min(_MOST[name], max(0.0, value)), 4),)

    return Quality(
        vmaf=point("vmaf"),
        vmaf_neg=point("vmaf_neg"),
        ssim=point("ssim"),
        psnr_y_db=point("psnr_y_db"),
        trusted=point("trusted"),
    )

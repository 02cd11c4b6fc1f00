"""Small self-made price lists for tests of controllers and simulator."""

from __future__ import annotations

import numpy as np

from abr.core.options import Choice, PriceList


def make_prices(segments: int = 20, *, segment_s: float = 2.0, weights: bool = False, seed: int = 1) -> PriceList:
    """Three renditions; two enhancers on the lower two; sizes vary by segment. With `weights`, one costs a download."""
    rng = np.random.default_rng(seed)
    choices = [
        Choice(rendition=0),
        Choice(rendition=0, enhancer="low"),
        Choice(rendition=0, enhancer="high"),
        Choice(rendition=1),
        Choice(rendition=1, enhancer="low"),
        Choice(rendition=1, enhancer="high"),
        Choice(rendition=2),
    ]
    rates_bps = np.array([4e5, 4e5, 4e5, 1.2e6, 1.2e6, 1.2e6, 4e6])
    busy = rng.uniform(0.6, 1.4, (segments, 1))
    compute = np.array([0, 0.2, 0.7, 0, 0.4, 1.3, 0]) * segment_s
    vmaf = np.array([35.0, 48.0, 58.0, 65.0, 74.0, 80.0, 98.0])
    high = ("hi",) if weights else ()
    quality = np.clip(vmaf + rng.uniform(-6, 2, (segments, 1)), 0, 100)
    return PriceList(
        rendition_ids=("180p", "360p", "720p"),
        choices=tuple(choices),
        duration_s=np.full(segments, segment_s),
        size_bytes=np.round(rates_bps * busy * segment_s / 8),
        compute_s=np.tile(compute, (segments, 1)),
        lead_s=np.tile(compute, (segments, 1)),
        quality=quality,
        vmaf=quality,
        weights=((), (), high, (), (), high, ()),
        weights_bytes={"hi": 150_000} if weights else {},
    )

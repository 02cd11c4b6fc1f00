"""The quality of a rung until something is measured on the stream itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from abr.core.live.quality import LiveQuality
from abr.core.title import Meter, Quality
from server.ingest.ladder import Rung

PLAIN_VMAF = ((0.25, 49.0), (0.5, 77.4), (1.0, 92.3))
"""Share of the display's lines that a rung has, and VMAF when it is played plainly: as measured by `toprung live` on
the sample film, at 720 lines and its usual quality (docs/BENCHMARKS.md)."""


def assumed_vmaf(share: float) -> float:
    """Between the measured shares by the logarithm of the share; beyond them as at the nearest."""
    first, last = PLAIN_VMAF[0], PLAIN_VMAF[-1]
    if share <= first[0]:
        return first[1]
    for (low, low_vmaf), (high, high_vmaf) in pairwise(PLAIN_VMAF):
        if share <= high:
            return low_vmaf + (high_vmaf - low_vmaf) * math.log(share / low) / math.log(high / low)
    return last[1]


def assumed_quality(rungs: Sequence[Rung], display_px: tuple[int, int]) -> LiveQuality:
    """Of a stream of which nothing is measured yet: nothing is offered to lift it."""
    width_px, height_px = display_px
    return LiveQuality(
        plain={rung.id: _assumed(assumed_vmaf(rung.height_px / height_px)) for rung in rungs},
        meter=Meter(
            vmaf_model="assumed by the rung's size",
            vmaf_neg_model="assumed by the rung's size",
            tool="no meter yet",
            scaler="swscale lanczos",
            every_frames=1,
            crop=(0, 0, width_px, height_px),
            black_luma_max=0.0,
        ),
        enhancements=None,
        measured=False,
    )


def _assumed(vmaf: float) -> Quality:
    """SSIM and PSNR are 0, since nothing is known of them."""
    return Quality(vmaf=(round(vmaf, 2),), vmaf_neg=(round(vmaf, 2),), ssim=(0.0,), psnr_y_db=(0.0,))

"""What a lift saves: the bytes that the bitrate ladder alone would take for the same quality."""

from __future__ import annotations

import numpy as np

from abr.core.options import PriceList, plain_of


def bytes_of_equal_quality(prices: PriceList, segment: int, quality: float) -> float:
    """Bytes of a segment that the renditions as they come would take for this quality, in the list's currency.

    Between two renditions it is reckoned linearly. Beyond the best one it is that one's bytes: a lower bound.
    """
    plain = plain_of(prices)
    points = sorted((float(prices.quality[segment, each]), float(prices.size_bytes[segment, each])) for each in plain)
    rising = [points[-1]]
    for point in reversed(points[:-1]):  # a rendition that another beats in both has no place on the curve
        if point[1] < rising[-1][1]:
            rising.append(point)
    qualities, sizes = zip(*reversed(rising), strict=True)
    return float(np.interp(quality, qualities, sizes))

"""Throughput estimates from the recent downloads of a session. All pure, all over `Observation.downloads`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from abr.core.arrays import Floats
from abr.core.control import Download

N = TypeVar("N", float, Floats)

SPAN_MIN_S = 1e-3
"""Bytes that came in less time than this came from a cache or a clock too coarse; the rate is capped by it."""
RATE_MIN_BPS = 1.0
"""What a download without bytes is taken for, so that there is always something to divide by."""


class Estimate(NamedTuple, Generic[N]):
    """What the next download may find: a number each, or columns (M,) for M sessions."""

    throughput_bps: N
    latency_s: N


def throughput_bps(download: Download) -> float:
    """Bits per second between the first and the last byte, at least RATE_MIN_BPS."""
    return max(download.size_bytes * 8 / max(download.duration_s - download.latency_s, SPAN_MIN_S), RATE_MIN_BPS)


def harmonic_mean(downloads: Sequence[Download], window: int = 5) -> Estimate[float]:
    """Harmonic mean of the last `window` downloads (Yin et al., SIGCOMM 2015, 5.1). Needs at least one download."""
    recent = downloads[-window:]
    seconds_per_bit = sum(1 / throughput_bps(download) for download in recent)
    return Estimate(len(recent) / seconds_per_bit, sum(download.latency_s for download in recent) / len(recent))


def dual_ewma(
    downloads: Sequence[Download], segment_s: float, half_lives_s: tuple[float, float] = (3.0, 8.0)
) -> Estimate[float]:
    """The smaller of a fast and a slow moving average, each corrected for its start (dash.js, Sabre, BONES).

    Throughput decays with download time, latency with the number of segments. Needs at least one download.
    """
    fast_s, slow_s = half_lives_s
    fast_bps = slow_bps = fast_latency_s = slow_latency_s = weight_s = 0.0
    fast_keep, slow_keep = 0.5 ** (segment_s / fast_s), 0.5 ** (segment_s / slow_s)
    for download in downloads:
        latency_s = download.latency_s
        spent_s = max(download.duration_s - latency_s, SPAN_MIN_S)
        rate_bps = download.size_bytes * 8 / spent_s
        fast_bps += (1 - 0.5 ** (spent_s / fast_s)) * (rate_bps - fast_bps)
        slow_bps += (1 - 0.5 ** (spent_s / slow_s)) * (rate_bps - slow_bps)
        fast_latency_s += (1 - fast_keep) * (latency_s - fast_latency_s)
        slow_latency_s += (1 - slow_keep) * (latency_s - slow_latency_s)
        weight_s += spent_s
    count = len(downloads)
    rate_bps = min(fast_bps / (1 - 0.5 ** (weight_s / fast_s)), slow_bps / (1 - 0.5 ** (weight_s / slow_s)))
    return Estimate(
        max(rate_bps, RATE_MIN_BPS),
        max(fast_latency_s / (1 - fast_keep**count), slow_latency_s / (1 - slow_keep**count)),
    )


def dual_ewma_columns(
    duration_s: Floats,
    latency_s: Floats,
    size_bytes: Floats,
    segment_s: float,
    half_lives_s: tuple[float, float] = (3.0, 8.0),
) -> Estimate[Floats]:
    """`dual_ewma` for M sessions at once, from (N, M) arrays of their downloads, oldest first.

    A moving average is a weighted sum; here all its weights are computed at once. For one session the loop above is
    quicker, for many this is.
    """
    spent_s = np.maximum(duration_s - latency_s, SPAN_MIN_S)
    rate_bps = size_bytes * 8 / spent_s
    since_s = np.zeros((len(spent_s) + 1, spent_s.shape[1]))
    since_s[:-1] = np.cumsum(spent_s[::-1], axis=0)[::-1]
    since = np.arange(len(spent_s), -1.0, -1.0)
    rates, latencies = [], []
    for half_life_s in half_lives_s:
        kept = np.exp2(-since_s / half_life_s)
        rates.append((np.diff(kept, axis=0) * rate_bps).sum(axis=0) / (1 - kept[0]))
        kept_segments = np.exp2(-since * segment_s / half_life_s)
        latencies.append(np.diff(kept_segments) @ latency_s / (1 - kept_segments[0]))
    return Estimate(np.maximum(np.minimum(*rates), RATE_MIN_BPS), np.maximum(*latencies))

"""Throughput estimates from the recent downloads of a session. All pure, all over `Observation.downloads`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from abr.control import Download

SPAN_MIN_S = 1e-3
"""Bytes that came in less time than this came from a cache or a clock too coarse; the rate is capped by it."""


class Estimate(NamedTuple):
    """What the next download may find."""

    throughput_bps: float
    latency_s: float


def throughput_bps(download: Download) -> float:
    """Bits per second between the first and the last byte."""
    return download.size_bytes * 8 / max(download.duration_s - download.latency_s, SPAN_MIN_S)


def harmonic_mean(downloads: Sequence[Download], window: int = 5) -> Estimate:
    """Harmonic mean of the last `window` downloads (Yin et al., SIGCOMM 2015, 5.1). Needs at least one download."""
    recent = downloads[-window:]
    seconds_per_bit = sum(1 / max(throughput_bps(download), 1.0) for download in recent)
    return Estimate(len(recent) / seconds_per_bit, sum(download.latency_s for download in recent) / len(recent))


def dual_ewma(
    downloads: Sequence[Download], segment_s: float, half_lives_s: tuple[float, float] = (3.0, 8.0)
) -> Estimate:
    """The smaller of a fast and a slow moving average, each corrected for its start (dash.js, Sabre, BONES).

    Throughput decays with download time, latency with the number of segments. Needs at least one download.
    """
    rates: list[float] = []
    latencies: list[float] = []
    for half_life_s in half_lives_s:
        rate = latency = weight_s = 0.0
        for download in downloads:
            spent_s = max(download.duration_s - download.latency_s, SPAN_MIN_S)
            keep = 0.5 ** (spent_s / half_life_s)
            rate = keep * rate + (1 - keep) * throughput_bps(download)
            keep = 0.5 ** (segment_s / half_life_s)
            latency = keep * latency + (1 - keep) * download.latency_s
            weight_s += spent_s
        rates.append(rate / (1 - 0.5 ** (weight_s / half_life_s)))
        latencies.append(latency / (1 - 0.5 ** (len(downloads) * segment_s / half_life_s)))
    return Estimate(min(rates), max(latencies))

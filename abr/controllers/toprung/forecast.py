"""What throughput may come: a distribution learned from the session's own past, not a point.

Three numbers summarise a session. `level`: where throughput is now, a moving average of its logarithm, quick to
follow. `spread`: how far one download typically strays from that (the geometric mean of the innovations, so that a rare
jump does not pass for restlessness). `mean`: where the session has been all along, to which the level drifts back.

The next download's throughput is exp(level + z), z from six nodes whose width grows with the spread; a seventh node
is an outage. All formulas hold for one session (numbers) and for M of them (columns).

All constants were fitted together, by CMA-ES, for the QoE that the whole controller reaches: the mean over norway3g,
belgium4g, fcc_sd, fcc_hd (profile imdn_bbb_3060ti) with a penalty for any set that falls behind the best published
method, and Pensieve's linear QoE on fcc_cooked and norway_3g. Two thirds of the traces, chosen by a
hash of their names, were used; the others, and
all of the further fcc_sd, fcc_hd and nyc_lte traces, are the check (docs/BENCHMARKS.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from abr.controllers.batch import ObservationBatch
from abr.core.arrays import Floats, Indices, Number, namespace_of
from abr.core.control import Download
from abr.core.throughput import throughput_bps

LEVEL_MIN = math.log(1e3)
LEVEL_MAX = math.log(1e10)

FALL_GAIN = 0.6366
"""Share of a fall below the level that the level follows at once; RISE_GAIN: of a rise."""
RISE_GAIN = 0.7901
RAMP = 1.5
"""Nats that the very first download's rate may fall short when it is over at once: a connection takes time to come up
to speed. None when it took RAMP_S or longer. Read off 4G logs (Ghent), the 4 s after it against the download itself."""
RAMP_S = 0.4
SPREAD_RATE = 0.01176
SPREAD_START = math.log(0.0345)
SPREAD_WEIGHT = 3
"""How many downloads the first guess of the spread counts for."""
INNOVATION_FLOOR = 0.02
INNOVATION_MAX = 1.5
MEAN_RATE = 0.003
MEAN_START = 15.48
"""Natural logarithm of bit/s: about 5 Mbit/s; counts for MEAN_WEIGHT downloads."""
MEAN_WEIGHT = 8.169
PULL = 0.1176
"""Share of the way back to the session's mean that the level is expected to go with each segment."""

NODES: Floats = np.array([-3.129, -1.252, -0.487, 0.000, 0.717, 1.554])
CHANCES: Floats = np.array([0.03, 0.1, 0.2, 0.3, 0.25, 0.12])
WIDTH = 0.7346
WIDTH_POWER = 1.487
NODE_MIN = -1.659
SPREAD_UNIT = 0.12
"""z = max(WIDTH · (spread / SPREAD_UNIT)^WIDTH_POWER · (node - mean node), NODE_MIN)."""
OUTAGE_S = 18.14
OUTAGE_CHANCE = 0.0003107
OUTAGE_POWER = 1.905
OUTAGE_CHANCE_MAX = 0.1

OUTAGES_S = (*(0.0 for _ in NODES), OUTAGE_S)
"""For how long nothing comes, at each node."""
_CENTRED: list[float] = [*(NODES - NODES @ CHANCES).tolist(), 0.0]
_CHANCES: list[float] = CHANCES.tolist()


class Forecast(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the downloads of one session, or of M of them (columns), say of the throughput to come.

    level, mean: ln(bit/s). spread: ln of the typical |innovation| in nats. downloads: how many were counted. until_s:
    start of the last one of them.
    """

    level: Number
    spread: Number
    mean: Number
    downloads: float
    until_s: Number

    def memory(self) -> tuple[float, ...]:
        """The forecast as five numbers for `Decision.memory`."""
        return self.level, self.spread, self.mean, float(self.downloads), self.until_s  # type: ignore[return-value]

    def rows(self, sessions: Indices) -> Forecast:
        """That of some of M sessions."""
        level, spread, mean, until_s = (
            column[sessions]  # type: ignore[index]
            for column in (self.level, self.spread, self.mean, self.until_s)
        )
        return Forecast(level=level, spread=spread, mean=mean, downloads=self.downloads, until_s=until_s)

    @property
    def next_level(self) -> Number:
        """The level expected after the next download: some way back to the session's mean."""
        return self.level + PULL * (self.mean - self.level)


def forecast_throughput(downloads: Sequence[Download], memory: tuple[float, ...] = ()) -> Forecast:
    """The forecast after `downloads`: at least one, oldest first. memory: of an earlier forecast, to go on from."""
    forecast: Forecast | None = None
    if len(memory) == 5:
        level, spread, mean, count, until_s = memory
        forecast = Forecast(level=level, spread=spread, mean=mean, downloads=int(count), until_s=until_s)
    for download in downloads:
        started_s = download.started_s
        if forecast is None:
            span_s = download.duration_s - download.latency_s
            forecast = _first(math.log(throughput_bps(download)), span_s, started_s)
        elif started_s > forecast.until_s:
            forecast = _update(forecast, math.log(throughput_bps(download)), started_s)
    assert forecast is not None
    return forecast


def forecast_columns(batch: ObservationBatch) -> Forecast:
    """`forecast_throughput` for each session of a batch. Their memory, if any, covers all downloads but the last."""
    downloads = batch.downloads
    log_rates, started_s = np.log(downloads.throughput_bps()), downloads.started_s
    if batch.memory:
        level, spread, mean, counts, until_s = batch.memory
        forecast = Forecast(level=level, spread=spread, mean=mean, downloads=float(counts[0]), until_s=until_s)
        return _update(forecast, log_rates[-1], started_s[-1])
    forecast = _first(log_rates[0], downloads.duration_s[0] - downloads.latency_s[0], started_s[0])
    for log_rate, start_s in zip(log_rates[1:], started_s[1:], strict=True):
        forecast = _update(forecast, log_rate, start_s)
    return forecast


def _first(log_rate: Number, span_s: Number, started_s: Number) -> Forecast:
    """The forecast after the first download. span_s: from its first byte to its last."""
    xp = namespace_of(log_rate)
    log_rate = xp.minimum(xp.maximum(log_rate, LEVEL_MIN), LEVEL_MAX)
    level = log_rate + RAMP * xp.maximum(1 - span_s / RAMP_S, 0.0)
    mean = (log_rate + MEAN_WEIGHT * MEAN_START) / (1 + MEAN_WEIGHT)
    return Forecast(level=level, spread=SPREAD_START + 0.0 * level, mean=mean, downloads=1, until_s=started_s)


def _update(forecast: Forecast, log_rate: Number, started_s: Number) -> Forecast:
    """The forecast after one more download."""
    xp, level, count = namespace_of(log_rate), forecast.level, forecast.downloads + 1
    log_rate = xp.minimum(xp.maximum(log_rate, LEVEL_MIN), LEVEL_MAX)
    innovation = log_rate - level
    size = xp.log(xp.minimum(abs(innovation), INNOVATION_MAX) + INNOVATION_FLOOR)
    return Forecast(
        level=level + xp.where(innovation < 0, FALL_GAIN, RISE_GAIN) * innovation,
        spread=forecast.spread + max(SPREAD_RATE, 1 / (count + SPREAD_WEIGHT)) * (size - forecast.spread),
        mean=forecast.mean + max(MEAN_RATE, 1 / (count + MEAN_WEIGHT)) * (log_rate - forecast.mean),
        downloads=count,
        until_s=started_s,
    )


def nodes(spread: Number) -> tuple[list[Number], list[Number]]:
    """What the next download may bring for a typical innovation of `spread` nats: innovations z, and their chances.

    Seven of each, shaped as `spread`. The last one is an outage: nothing comes for OUTAGE_S, then the level goes on.
    """
    xp, relative = namespace_of(spread), spread / SPREAD_UNIT
    width, maximum = WIDTH * relative**WIDTH_POWER, xp.maximum
    outage = xp.minimum(OUTAGE_CHANCE * relative**OUTAGE_POWER, OUTAGE_CHANCE_MAX)
    innovations = [maximum(width * node, NODE_MIN) for node in _CENTRED]
    return innovations, [*[chance * (1 - outage) for chance in _CHANCES], outage]

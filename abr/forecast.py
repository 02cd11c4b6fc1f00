"""What throughput may come: a distribution learned from the session's own past, not a point.

Three numbers summarise a session. `level`: where throughput is now, a moving average of its logarithm, quick to
follow. `spread`: how far one download typically strays from that (the geometric mean of the innovations, so that a rare
jump does not pass for restlessness). `mean`: where the session has been all along, to which the level drifts back.

The next download's throughput is exp(level + z), z from six nodes whose width grows with the spread; a seventh node
is an outage. All constants were fitted together, by CMA-ES, for the QoE that the whole controller reaches: the mean
over norway3g, belgium4g, fcc_sd, fcc_hd (profile imdn_bbb_3060ti) with a penalty for any set that falls behind the
best published method, and Pensieve's linear QoE on fcc_cooked and norway_3g. Two thirds of the traces, chosen by a
hash of their names, were used; the others, and all of the further fcc_sd, fcc_hd and nyc_lte traces, are the check
(docs/BENCHMARKS.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from abr.control import Download
from abr.crowd import Crowd, Indices
from abr.options import Floats
from abr.throughput import throughput_bps

LEVEL_MIN = math.log(1e3)
LEVEL_MAX = math.log(1e10)

FALL_GAIN = 0.6366
"""How much of a fall below the level is believed at once; RISE_GAIN: of a rise."""
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
_LAST: Floats = np.array([0.0] * len(NODES) + [1.0])
_OUTAGES: Floats = np.array(OUTAGES_S)
_CENTRED: Floats = np.append(NODES - NODES @ CHANCES, 0.0)
_CHANCES: Floats = np.append(CHANCES, 0.0)


class Belief(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a session has shown so far. level, mean: ln(bit/s); spread: ln of the typical |innovation| in nats."""

    level: float
    spread: float
    mean: float
    downloads: int
    until_s: float
    """Start of the last download taken into account."""

    def memory(self) -> tuple[float, ...]:
        return self.level, self.spread, self.mean, float(self.downloads), self.until_s

    @property
    def throughput_bps(self) -> float:
        return math.exp(self.level)


def believe(downloads: Sequence[Download], memory: tuple[float, ...] = ()) -> Belief:
    """The belief after `downloads` (oldest first, at least one), going on from an earlier belief's memory if given."""
    belief: Belief | None = None
    if len(memory) == 5:
        level, spread, mean, count, until_s = memory
        belief = Belief(level=level, spread=spread, mean=mean, downloads=int(count), until_s=until_s)
    for download in downloads:
        if belief is None:
            belief = _first(download)
        elif download.started_s > belief.until_s:
            belief = _next(belief, download)
    assert belief is not None
    return belief


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beliefs:
    """`Belief` for M sessions with equally many downloads: (M,) each."""

    level: Floats
    spread: Floats
    mean: Floats
    downloads: float

    def memory(self) -> Floats:
        """(M, 4), to be given back to `believe_many`."""
        return np.stack([self.level, self.spread, self.mean, np.full(len(self.level), self.downloads)], axis=1)

    def rows(self, chosen: Indices) -> Beliefs:
        """Those of some of the sessions."""
        level, spread, mean = self.level[chosen], self.spread[chosen], self.mean[chosen]
        return Beliefs(level=level, spread=spread, mean=mean, downloads=self.downloads)


def believe_many(seen: Crowd) -> Beliefs:
    """`believe` for each session of a crowd; its memory covers all downloads but the last."""
    rates = np.clip(np.log(seen.throughput_bps), LEVEL_MIN, LEVEL_MAX)
    if seen.memory.shape[1]:
        level, spread, mean, counts = seen.memory.T
        return _next_many(Beliefs(level=level, spread=spread, mean=mean, downloads=counts[0]), rates[-1])
    mean = (rates[0] + MEAN_WEIGHT * MEAN_START) / (1 + MEAN_WEIGHT)
    level = rates[0] + RAMP * np.maximum(1 - (seen.duration_s[0] - seen.latency_s[0]) / RAMP_S, 0.0)
    beliefs = Beliefs(level=level, spread=np.full_like(level, SPREAD_START), mean=mean, downloads=1)
    for rate in rates[1:]:
        beliefs = _next_many(beliefs, rate)
    return beliefs


def _next_many(beliefs: Beliefs, rate: Floats) -> Beliefs:
    innovation, count = rate - beliefs.level, beliefs.downloads + 1
    size = np.log(np.minimum(np.abs(innovation), INNOVATION_MAX) + INNOVATION_FLOOR)
    return Beliefs(
        level=beliefs.level + np.where(innovation < 0, FALL_GAIN, RISE_GAIN) * innovation,
        spread=beliefs.spread + max(SPREAD_RATE, 1 / (count + SPREAD_WEIGHT)) * (size - beliefs.spread),
        mean=beliefs.mean + max(MEAN_RATE, 1 / (count + MEAN_WEIGHT)) * (rate - beliefs.mean),
        downloads=count,
    )


def _log_rate(download: Download) -> float:
    return min(max(math.log(throughput_bps(download)), LEVEL_MIN), LEVEL_MAX)


def _first(download: Download) -> Belief:
    rate = _log_rate(download)
    mean = (rate + MEAN_WEIGHT * MEAN_START) / (1 + MEAN_WEIGHT)
    level = rate + RAMP * max(1 - (download.duration_s - download.latency_s) / RAMP_S, 0.0)
    return Belief(level=level, spread=SPREAD_START, mean=mean, downloads=1, until_s=download.started_s)


def _next(belief: Belief, download: Download) -> Belief:
    rate, count = _log_rate(download), belief.downloads + 1
    innovation = rate - belief.level
    size = math.log(min(abs(innovation), INNOVATION_MAX) + INNOVATION_FLOOR)
    return Belief(
        level=belief.level + (FALL_GAIN if innovation < 0 else RISE_GAIN) * innovation,
        spread=belief.spread + max(SPREAD_RATE, 1 / (count + SPREAD_WEIGHT)) * (size - belief.spread),
        mean=belief.mean + max(MEAN_RATE, 1 / (count + MEAN_WEIGHT)) * (rate - belief.mean),
        downloads=count,
        until_s=download.started_s,
    )


def nodes(spread: Floats | float) -> tuple[Floats, Floats, Floats]:
    """What may come for a typical innovation of `spread` nats: innovations z, outages in seconds, and their chances.

    Shapes (…, 7), (7,), (…, 7). The last node is an outage: for OUTAGE_S nothing comes at all, then the level goes on.
    """
    relative = np.asarray(spread / SPREAD_UNIT)[..., None]
    strayed = np.maximum(WIDTH * relative**WIDTH_POWER * _CENTRED, NODE_MIN)
    outage = np.minimum(OUTAGE_CHANCE * relative**OUTAGE_POWER, OUTAGE_CHANCE_MAX)
    return strayed, _OUTAGES, _CHANCES * (1 - outage) + _LAST * outage


def nodes_of(spread: float) -> tuple[list[float], list[float]]:
    """Innovations and chances of `nodes` for one spread, in plain numbers."""
    relative = spread / SPREAD_UNIT
    width, outage = WIDTH * relative**WIDTH_POWER, min(OUTAGE_CHANCE * relative**OUTAGE_POWER, OUTAGE_CHANCE_MAX)
    strayed = [max(width * node, NODE_MIN) for node in _CENTRED_ONE]
    return strayed, [*(chance * (1 - outage) for chance in _CHANCES_ONE), outage]


_CENTRED_ONE: list[float] = _CENTRED.tolist()
_CHANCES_ONE: list[float] = CHANCES.tolist()

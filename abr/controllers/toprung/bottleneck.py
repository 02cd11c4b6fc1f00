"""Viewers behind one bottleneck: what each downloads tells of the link, and each decides by its fair share of it.

Alone, a viewer takes what it gets for what there is. Yet what it gets is what the others leave: more whenever one of
them pauses, less as soon as that one goes on. Together they know the link. A download that shared it with k others saw
one part of k + 1, so its rate times the flows under way is the capacity. Each viewer's plan then expects its share:
the mean of a fair one (`abr.controllers.fair_shares`), which all hold to in the long run, and of an equal one, which
is what TCP gives to those who download at the same time. Who has nothing left to download has none.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from abr.controllers.common import is_starting
from abr.controllers.fair_shares import RatePoint, fair_shares, rate_curve
from abr.controllers.guard import decide
from abr.controllers.toprung.forecast import LEVEL_MAX, LEVEL_MIN, forecast_throughput
from abr.core.control import REASON_MAX, Controller, Decision, Download, Observation
from abr.core.throughput import SPAN_MIN_S, throughput_bps

MEMBERS_MAX = 64
"""Viewers of one bottleneck; the one silent for longest is forgotten first."""
SILENT_S = 90.0
"""Who asked for nothing in so long has gone."""
CAPACITY_GAIN = 0.25
"""Share of what one download tells of the capacity that the estimate follows at once."""
SHARE_BUFFER_S = 30.0
OWN_BUFFER_S = 60.0
"""Of two such buffers, the smaller lets a viewer go by its share, the larger by its own downloads (`expecting`)."""
SPANS_MAX = 4
"""Finished downloads of a viewer that are remembered."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Member:
    """A viewer. Times on the clock of all: seen_s of its last request, spans_s when its downloads flowed.

    size_bytes: of the one under way since seen_s. learned: the last one that the link's capacity was read off.
    is_last: that is its last one.
    """

    curve: tuple[RatePoint, ...] = ()
    seen_s: float = 0.0
    size_bytes: float = 0.0
    is_last: bool = False
    spans_s: list[tuple[float, float]] = field(default_factory=list)
    learned: Download | None = None


class Turn(NamedTuple):
    """A viewer's turn to be decided for: what its controller is to be asked, and what then becomes of the answer."""

    observation: Observation
    """It expects the viewer's share, once the link is known. The decision follows from it alone."""
    told: str
    """What the reason adds; empty before the link is known."""
    member: _Member

    def conclude(self, decision: Decision) -> Decision:
        """The controller's decision, its reason with the share. The link knows now what comes next over it."""
        menu, option = self.observation.menu, decision.option
        self.member.size_bytes = float(menu.size_bytes[0, option] + menu.weights_bytes[option])
        self.member.is_last = menu.segments_left <= 1
        if not self.told:
            return decision
        return replace(decision, reason=decision.reason[: REASON_MAX - len(self.told)] + self.told)


class Bottleneck:
    """What is remembered of one link, and who is behind it; decides for them through a `Toprung` controller."""

    def __init__(self, controller: Controller) -> None:
        self.capacity_bps: float | None = None
        """Of the whole link; None before the first download has ended."""
        self._controller = controller
        self._members: dict[Hashable, _Member] = {}

    def __len__(self) -> int:
        """How many viewers are behind it."""
        return len(self._members)

    @property
    def points(self) -> int:
        """Points of all its viewers' curves, which is most of what it keeps."""
        return sum(len(member.curve) for member in self._members.values())

    def decide(self, viewer: Hashable, observation: Observation, now_s: float) -> Decision:
        """For the next segment of `viewer`. now_s: the instant on a clock of all; times of the observation are its own.

        Once the link is known, the viewer's forecast expects its fair share, and the reason says so.
        """
        turn = self.take_turn(viewer, observation, now_s)
        return turn.conclude(decide(self._controller, turn.observation))

    def take_turn(self, viewer: Hashable, observation: Observation, now_s: float) -> Turn:
        """The first half of `decide`, for who asks the controller for several viewers at once."""
        member = self._join(viewer, now_s)
        member.curve, member.is_last = rate_curve(observation.menu), False
        if is_starting(observation):
            return Turn(observation, "", member)
        self._learn(member, observation.downloads[-1], now_s - observation.now_s)
        share_bps = self._share_bps(member)
        told = f"; {share_bps / 1e3:.0f} kbit/s are its share among {len(self._downloading)} on the link"
        return Turn(expecting(observation, share_bps), told, member)

    def leave(self, viewer: Hashable) -> None:
        """The viewer has ended; the others need not wait until it has been silent for long."""
        self._members.pop(viewer, None)

    def _join(self, viewer: Hashable, now_s: float) -> _Member:
        """The member, last in order; those that have gone are forgotten."""
        member = self._members.pop(viewer, None) or _Member()
        member.seen_s = now_s
        gone = [key for key, other in self._members.items() if other.seen_s < now_s - SILENT_S]
        for key in gone or list(self._members)[: max(len(self._members) + 1 - MEMBERS_MAX, 0)]:
            del self._members[key]
        self._members[viewer] = member
        return member

    def _learn(self, member: _Member, download: Download, offset_s: float) -> None:
        """What a finished download tells of the link, once. offset_s: from the viewer's clock to that of all."""
        if download == member.learned:
            return
        member.learned = download
        begun_s = download.started_s + offset_s + download.latency_s
        span_s = begun_s, max(begun_s + SPAN_MIN_S, download.started_s + offset_s + download.duration_s)
        rate_bps = throughput_bps(download)
        flows = 1.0 + sum(_beside(other, span_s, rate_bps) for other in self._members.values() if other is not member)
        member.spans_s = [*member.spans_s, span_s][-SPANS_MAX:]
        seen_bps, before_bps = rate_bps * flows, self.capacity_bps
        self.capacity_bps = seen_bps if before_bps is None else before_bps + CAPACITY_GAIN * (seen_bps - before_bps)

    @property
    def _downloading(self) -> list[_Member]:
        """Those who go on to share the link."""
        return [member for member in self._members.values() if not member.is_last]

    def _share_bps(self, member: _Member) -> float:
        """The geometric mean of the two: forecasts are of logarithms."""
        assert self.capacity_bps is not None
        members = self._downloading
        fair_bps = fair_shares([other.curve for other in members], self.capacity_bps)[members.index(member)]
        return math.sqrt(fair_bps * self.capacity_bps / len(members))


def _beside(member: _Member, span_s: tuple[float, float], rate_bps: float) -> float:
    """The part of a span during which a member downloaded too; the download under way is taken to go as fast."""
    under_way = member.seen_s, member.seen_s + member.size_bytes * 8 / rate_bps
    spans_s = [*member.spans_s, under_way] if member.size_bytes else member.spans_s
    first_s, last_s = span_s
    shared_s = [
        min(end_s, last_s) - max(begun_s, first_s)
        for begun_s, end_s in spans_s
        if begun_s < last_s and end_s > first_s  # most do not: each is asked for by all the others
    ]
    return min(sum(shared_s) / (last_s - first_s), 1.0)


def expecting(observation: Observation, share_bps: float) -> Observation:
    """The observation of a viewer whose forecast is its share, now and in the long run.

    The fuller its buffer, the more its own downloads count instead: from SHARE_BUFFER_S on a part, from OWN_BUFFER_S
    on they alone. How far its downloads stray from that is learned as ever: the decision's memory keeps the forecast.
    """
    forecast = forecast_throughput(observation.downloads, observation.memory)
    level = min(max(math.log(max(share_bps, 1.0)), LEVEL_MIN), LEVEL_MAX)
    own = (observation.buffer_s - SHARE_BUFFER_S) / (OWN_BUFFER_S - SHARE_BUFFER_S)
    own = min(max(own, 0.0), 1.0)
    mixed = replace(
        forecast,
        level=level + own * (forecast.level - level),
        mean=level + own * (forecast.mean - level),
    )
    return replace(observation, memory=mixed.memory())

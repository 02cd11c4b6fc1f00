"""Several viewers on one link in virtual time: each with the player of `abr.simulation.simulator`, all on one clock.

A viewer alone on the link has the session that `simulate` gives. Slow downloads are never given up here.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol, TypeAlias

from abr.controllers import HORIZON
from abr.controllers.guard import decide, is_failure
from abr.core.control import Controller, Decision, Observation
from abr.core.options import PriceList
from abr.simulation.shared_link import Flow, SharedLink
from abr.simulation.simulated_player import Session, SimulatedPlayer, SimulatedSegment
from abr.simulation.traces import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """One of those who share the link. start_s: when it comes. latency_s: of its own, beside the link's."""

    prices: PriceList
    start_s: float = 0.0
    latency_s: float = 0.0
    buffer_max_s: float = 60.0


class PacedDecision(NamedTuple):
    """What to fetch, and how fast it is sent at most."""

    decision: Decision
    pace_bps: float = math.inf


class Decider(Protocol):
    """Decides for all viewers, each in its turn."""

    def decide(self, viewer: int, observation: Observation, now_s: float) -> PacedDecision:
        """For the next segment of a viewer. now_s: on the clock of all; `observation.now_s` is on the viewer's own."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """Each viewer is decided for as though there were no other."""

    controller: Controller

    def decide(self, viewer: int, observation: Observation, now_s: float) -> PacedDecision:
        """See Decider."""
        return PacedDecision(decide(self.controller, observation))


class _Transfer(NamedTuple):
    size_bytes: int
    pace_bps: float


_Step: TypeAlias = float | _Transfer
"""What a viewer does next: wait until this instant, or download; it goes on when that is over."""
_Watching: TypeAlias = Generator[_Step, None, Session]


def simulate_group(
    viewers: Sequence[Viewer], trace: Trace, decider: Decider, *, horizon: int = HORIZON
) -> list[Session]:
    """Each viewer plays its whole title, all over one link. Deterministic; those who do things at once take turns.

    Raises FormatError for a list in which a segment cannot be had at all.
    """
    link, order = SharedLink(trace), count()
    sessions: dict[int, Session] = {}
    timers: list[tuple[float, int, int]] = []
    downloading: dict[Flow, int] = {}
    watching = [_watch(i, viewer, link, decider, horizon) for i, viewer in enumerate(viewers)]

    def go_on(viewer: int) -> None:
        try:
            step = next(watching[viewer])
        except StopIteration as end:
            sessions[viewer] = end.value
            return
        if isinstance(step, _Transfer):
            downloading[link.start(step.size_bytes, step.pace_bps)] = viewer
        else:
            heapq.heappush(timers, (step, next(order), viewer))

    for viewer in range(len(viewers)):
        go_on(viewer)
    while timers or downloading:
        until_s = link.next_change_s() if downloading else math.inf
        is_timer = bool(timers) and timers[0][0] <= until_s
        for flow in link.advance(max(timers[0][0], link.now_s) if is_timer else until_s):
            go_on(downloading.pop(flow))
        if is_timer:
            go_on(heapq.heappop(timers)[2])
    return [sessions[viewer] for viewer in range(len(viewers))]


def _watch(index: int, viewer: Viewer, link: SharedLink, decider: Decider, horizon: int) -> _Watching:
    """A viewer's session, step by step. Its own clock runs ahead of the link's, which it then waits for."""
    player = SimulatedPlayer(viewer.prices, viewer.buffer_max_s, horizon)
    segments: list[SimulatedSegment] = []
    for segment in range(len(viewer.prices.duration_s)):
        observation = player.observe(segment)
        yield viewer.start_s + observation.now_s
        decision, pace_bps = decider.decide(index, observation, link.now_s)
        if is_failure(decision):
            player.count_failure(decision.reason)
        stalled_s = player.playback.stall_s
        player.pass_time(decision.wait_s)
        yield viewer.start_s + player.now_s
        began_s, latency_s = player.now_s, link.latency_s() + viewer.latency_s
        yield viewer.start_s + began_s + latency_s
        size_bytes = player.size_bytes(observation, decision.option)
        yield _Transfer(size_bytes, pace_bps)
        download = player.finish_download(began_s, link.now_s - viewer.start_s, latency_s, size_bytes)
        segments.append(player.receive(observation, decision, decision.option, download, stalled_s))
    return player.session(segments)

"""Replay a live session's log: every decision is taken again, and the playback model is held against what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from abr.controllers import HORIZON
from abr.controllers.guard import decide
from abr.core.control import Controller, Download, Observation, PrecomputingController
from abr.core.events import AnyEvent, Decided, Downloaded, ObservationRecord, Playing
from abr.core.options import Choice, PriceList, menu_of
from abr.core.playback import Playback

WAIT_TOLERANCE_S = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A decision that came out otherwise."""

    segment: int
    logged: str
    replayed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of replaying a session log.

    differences: empty when every decision is the same. buffer_error_s: by how much the playback model's buffer is off
    at each decision (positive: the model has more).
    """

    decisions: int
    differences: tuple[Difference, ...]
    buffer_error_s: tuple[float, ...]


def observation_of(
    record: ObservationRecord,
    now_s: float,
    segment: int,
    prices: PriceList,
    last: Choice | None,
    horizon: int = HORIZON,
) -> Observation:
    """The observation that the log kept, with its menu."""
    owned = (
        frozenset(key for key in prices.weights_bytes if key.startswith(record.owned)) if record.owned else frozenset()
    )
    return Observation(
        now_s=now_s,
        menu=menu_of(prices, segment, horizon, owned),
        buffer_s=record.buffer_s,
        buffer_max_s=record.buffer_max_s,
        backlog_s=record.backlog_s,
        playing=record.playing,
        downloads=tuple(
            Download(started_s=started_s, duration_s=duration_s, latency_s=latency_s, size_bytes=size_bytes)
            for started_s, duration_s, latency_s, size_bytes in record.downloads
        ),
        last=last,
        memory=record.memory,
    )


def replay(events: Sequence[AnyEvent], prices: PriceList, controller: Controller, *, horizon: int = HORIZON) -> Replay:
    """Take every logged decision again. `prices` must be those of the session: same title, table, device profile."""
    differences: list[Difference] = []
    last: Choice | None = None
    decided = [event for event in events if isinstance(event, Decided)]
    for event in decided:
        if event.seen is not None:
            observation = observation_of(event.seen, event.t_s, event.segment, prices, last, horizon)
            if isinstance(controller, PrecomputingController):  # the server had, or the reason in the log says so
                menu = observation.menu
                controller.precompute(prices, event.segment, menu.weights_bytes, observation.buffer_max_s)
            decision = decide(controller, observation)
            choice = prices.choices[decision.option]
            ours = (prices.rendition_ids[choice.rendition], choice.enhancer)
            same_wait = abs(decision.wait_s - event.wait_s) <= WAIT_TOLERANCE_S
            same = ours[0] == event.advised if event.advised else ours == (event.rendition, event.enhancer)
            if not same or not same_wait:
                logged = f"{event.rendition} {event.enhancer} wait {event.wait_s:.3f} s: {event.reason}"
                again = f"{ours[0]} {ours[1]} wait {decision.wait_s:.3f} s: {decision.reason}"
                differences.append(Difference(segment=event.segment, logged=logged, replayed=again))
        last = Choice(rendition=prices.rendition_ids.index(event.rendition), enhancer=event.enhancer)
    return Replay(
        decisions=len(decided),
        differences=tuple(differences),
        buffer_error_s=tuple(_buffer_errors(events, prices)),
    )


def _buffer_errors(events: Iterable[AnyEvent], prices: PriceList) -> Iterable[float]:
    """The model's buffer less the logged one at each decision, the model fed with the downloads as they ended."""
    playback, now_s = Playback(buffer_max_s=float("inf"), start_s=float("inf")), 0.0
    for event in sorted(events, key=lambda event: event.t_s):
        if not isinstance(event, Decided | Downloaded | Playing):
            continue
        playback.advance(event.t_s - now_s)
        now_s = event.t_s
        if isinstance(event, Playing):
            playback.playing = True
        elif isinstance(event, Downloaded) and event.kind == "video":
            playback.add(float(prices.duration_s[event.segment]))
        elif isinstance(event, Decided) and event.seen is not None:
            yield playback.buffer_s - event.seen.buffer_s

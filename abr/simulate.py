"""A whole session in virtual time: a price list, a trace and a controller, over the same playback model as live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from msgspec.structs import replace

from abr.control import Controller, Decision, Download, Flight, Observation, WatchfulController
from abr.controllers import HORIZON
from abr.controllers.guard import decide, reconsider
from abr.controllers.rules import step_down
from abr.enhancement import PLAIN
from abr.events import (
    AnyEvent,
    Decided,
    Downloaded,
    Ended,
    Playing,
    Seen,
    Shown,
    Stalled,
    Started,
)
from abr.options import Choice, Menu, PriceList
from abr.playback import Playback
from abr.qoe import Experience, experience
from abr.traces import Trace

DOWNLOADS_MAX = 16
WATCH_S = 0.05
WATCH_BYTES = 1500
"""How often a watchful controller is asked: as in Sabre and the BONES simulator (50 ms and 12 kbit)."""
WATCHES_MAX = 10_000
"""How many times at most for one segment, so that every session ends; then the download goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One segment: what was seen and decided, how it came, what was shown.

    fetched: the option that came in the end; another than decided when the controller thought better of a slow
    download. download: all that was fetched for it, bytes given up included. stall_s: playback stood still while it
    was fetched. shown: the option as shown, plain if the enhancement would have been late. starts_s: when its playback
    begins.
    """

    seen: Observation
    decision: Decision
    download: Download
    fetched: int
    stall_s: float
    shown: int
    starts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A simulated session."""

    prices: PriceList
    steps: tuple[Step, ...]
    startup_s: float
    stall_s: float

    @property
    def vmaf(self) -> list[float]:
        """Quality of each segment as shown."""
        return [row[step.shown] for row, step in zip(_tables(self.prices).vmaf, self.steps, strict=True)]

    @property
    def experience(self) -> Experience:
        return experience(self.vmaf, self.stall_s)

    @property
    def size_bytes(self) -> int:
        """Everything fetched, weights included."""
        return sum(step.download.size_bytes for step in self.steps)


def simulate(
    prices: PriceList,
    trace: Trace,
    controller: Controller,
    *,
    buffer_max_s: float = 60.0,
    horizon: int = HORIZON,
    start_lowest: bool = False,
    begin_s: float = 0.0,
) -> Session:
    """Play the whole title. Deterministic.

    begin_s: what the network needs for manifests and tables, before the first decision.
    start_lowest: fetch segment 0 at the lowest rung without asking the controller, as published benchmarks do.
    A controller that fails is overruled, never fatal (see abr.controllers.guard). Raises FormatError for a list in
    which a segment cannot be had at all.
    """
    playback = Playback(buffer_max_s=buffer_max_s)
    watchful = controller if isinstance(controller, WatchfulController) else None
    tables = _tables(prices)
    plain = tables.plain
    owned: frozenset[str] = frozenset()
    downloads: tuple[Download, ...] = ()
    last: Choice | None = None
    memory: tuple[float, ...] = ()
    steps: list[Step] = []
    now_s = _pass(playback, begin_s)
    for segment, duration_s in enumerate(tables.duration_s):
        now_s += _pass(playback, playback.room_wait_s(duration_s) if segment else 0.0)
        seen = Observation(
            now_s=now_s,
            menu=menu_of(prices, segment, horizon, owned),
            buffer_s=playback.buffer_s,
            buffer_max_s=buffer_max_s,
            backlog_s=playback.backlog_s,
            playing=playback.playing,
            downloads=downloads,
            last=last,
            memory=memory,
        )
        forced = start_lowest and segment == 0
        decision = Decision(option=step_down(seen.menu, 0), reason="start-up") if forced else decide(controller, seen)
        stalled_s = playback.stall_s
        now_s += _pass(playback, decision.wait_s)
        sizes, asked = tables.size_bytes[segment], None if forced else watchful
        option, download = _fetch(playback, trace, now_s, sizes, decision.option, seen, asked)
        now_s += download.duration_s
        starts_s = now_s + playback.buffer_s
        compute_s = tables.compute_s[segment][option]
        in_time = playback.add(duration_s, compute_s, tables.lead_s[segment][option])
        shown = option if in_time or compute_s == 0 else plain[prices.choices[option].rendition]
        stall_s = playback.stall_s - stalled_s
        steps.append(
            Step(
                seen=seen,
                decision=decision,
                download=download,
                fetched=option,
                stall_s=stall_s,
                shown=shown,
                starts_s=starts_s,
            )
        )
        owned = owned.union(prices.weights[option]) if prices.weights[option] else owned
        downloads = (*downloads[1 - DOWNLOADS_MAX :], download)
        last, memory = prices.choices[shown], decision.memory
    return Session(prices=prices, steps=tuple(steps), startup_s=playback.startup_s, stall_s=playback.stall_s)


def _fetch(
    playback: Playback,
    trace: Trace,
    now_s: float,
    sizes: list[float],
    option: int,
    seen: Observation,
    watch: WatchfulController | None,
) -> tuple[int, Download]:
    """Let a segment come; the option that came, after however many changes of mind, and the download as a whole.

    A watchful controller is asked after each WATCH_S and WATCH_BYTES. Each new request costs a latency.
    """
    began_s, first_latency_s, wasted_bytes, asked = now_s, trace.latency_at(now_s), 0.0, 0
    while True:
        size_bytes = int(sizes[option]) + int(seen.menu.weights_bytes[option])
        at_s = flows_s = now_s + trace.latency_at(now_s)
        end_s, other = trace.finish_s(flows_s, size_bytes), None
        while watch is not None and other is None and asked < WATCHES_MAX:
            asked += 1
            at_s = max(at_s + WATCH_S, trace.finish_s(at_s, WATCH_BYTES))
            if at_s >= end_s:
                break
            now_s += _pass(playback, at_s - now_s)
            done_bytes = trace.bytes_between(flows_s, now_s)
            flight = Flight(option=option, elapsed_s=now_s - began_s, done_bytes=done_bytes, size_bytes=size_bytes)
            now = replace(seen, now_s=now_s, buffer_s=playback.buffer_s, backlog_s=playback.backlog_s)
            other = reconsider(watch, now, flight)
        if other is None:
            _pass(playback, end_s - now_s)
            return option, Download(
                started_s=began_s,
                duration_s=end_s - began_s,
                latency_s=first_latency_s,
                size_bytes=size_bytes + int(wasted_bytes),
            )
        wasted_bytes += trace.bytes_between(flows_s, now_s)
        option = other


def plain_of(prices: PriceList) -> list[int]:
    """For each rendition its plain option; its first option when it is only offered enhanced."""
    plain: dict[int, int] = {}
    for option, choice in enumerate(prices.choices):
        if choice.rendition not in plain or choice.enhancer == PLAIN:
            plain[choice.rendition] = option
    return [plain.get(rendition, 0) for rendition in range(max(plain) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """A price list as plain lists, which single look-ups read faster than arrays."""

    plain: list[int]
    duration_s: list[float]
    size_bytes: list[list[float]]
    compute_s: list[list[float]]
    lead_s: list[list[float]]
    vmaf: list[list[float]]


@lru_cache(maxsize=8)
def _tables(prices: PriceList) -> _Tables:
    prices.check()
    return _Tables(
        plain=plain_of(prices),
        duration_s=prices.duration_s.tolist(),
        size_bytes=prices.size_bytes.tolist(),
        compute_s=prices.compute_s.tolist(),
        lead_s=prices.lead_s.tolist(),
        vmaf=prices.vmaf.tolist(),
    )


@lru_cache(maxsize=4096)
def menu_of(prices: PriceList, segment: int, horizon: int, owned: frozenset[str]) -> Menu:
    """`prices.menu`, remembered: sessions over the same title share their menus."""
    return prices.menu(segment, horizon, owned)


def _pass(playback: Playback, time_s: float) -> float:
    if time_s > 0:
        playback.advance(time_s)
    return time_s


def seen_of(seen: Observation, owned: Sequence[str] = ()) -> Seen:
    """What a log keeps of an observation."""
    return Seen(
        buffer_s=seen.buffer_s,
        buffer_max_s=seen.buffer_max_s,
        backlog_s=seen.backlog_s,
        playing=seen.playing,
        downloads=tuple([(d.started_s, d.duration_s, d.latency_s, d.size_bytes) for d in seen.downloads]),
        owned=tuple(owned),
        memory=seen.memory,
    )


def log_of(session: Session, *, title: str, controller: str, network: str, fps: float = 30.0) -> list[AnyEvent]:
    """The session as the events that a live player and server would have logged, in order of time."""
    prices = session.prices
    events: list[AnyEvent] = [
        Started(t_s=0.0, session="simulated", title=title, controller=controller, network=network, software="simulator")
    ]
    owned: set[str] = set()
    for segment, step in enumerate(session.steps):
        choice, shown = prices.choices[step.decision.option], prices.choices[step.shown]
        rendition = prices.rendition_ids[choice.rendition]
        end_s = step.download.started_s + step.download.duration_s
        duration_s = float(prices.duration_s[segment])
        frames = round(duration_s * fps)
        enhanced = frames if shown.enhancer != PLAIN else 0
        events.append(
            Decided(
                t_s=step.seen.now_s,
                segment=segment,
                rendition=rendition,
                enhancer=choice.enhancer,
                wait_s=step.decision.wait_s,
                reason=step.decision.reason,
                promised_vmaf=float(prices.vmaf[segment, step.decision.option]),
                size_bytes=int(prices.size_bytes[segment, step.decision.option]),
                seen=seen_of(step.seen, sorted(owned)),
            )
        )
        owned.update(prices.weights[step.fetched])
        events.append(
            Downloaded(
                t_s=end_s,
                kind="video",
                started_s=step.download.started_s,
                latency_s=step.download.latency_s,
                duration_s=step.download.duration_s,
                size_bytes=step.download.size_bytes,
                segment=segment,
                name=rendition,
            )
        )
        if segment == 0:
            events.append(Playing(t_s=end_s, startup_s=session.startup_s))
        elif step.stall_s > 0:
            events.append(Stalled(t_s=end_s, duration_s=step.stall_s, segment=segment))
        events.append(
            Shown(
                t_s=step.starts_s + duration_s,
                segment=segment,
                rendition=prices.rendition_ids[shown.rendition],
                enhancer=shown.enhancer,
                frames=frames,
                enhanced_frames=enhanced,
                plain_frames=frames - enhanced,
                late_frames=0,
                buffer_s=step.seen.buffer_s,
                backlog_s=step.seen.backlog_s,
            )
        )
    end_s = max(event.t_s for event in events)
    events.append(Ended(t_s=end_s, reason="finished", played_s=float(prices.duration_s.sum())))
    return sorted(events, key=lambda event: event.t_s)

"""The log of a simulated session: the events that a live player and server would have logged."""

from __future__ import annotations

from collections.abc import Iterator

from abr.core.enhancement import PLAIN
from abr.core.events import AnyEvent, Decided, Downloaded, Ended, Playing, Shown, Stalled, Started, seen_of
from abr.simulation.simulated_player import Session, SimulatedSegment


def log_of(session: Session, *, title: str, controller: str, network: str, fps: float = 30.0) -> list[AnyEvent]:
    """The events of the session, in order of time."""
    started = Started(
        t_s=0.0, session="simulated", title=title, controller=controller, network=network, software="simulator"
    )
    events: list[AnyEvent] = [started, *_SegmentEvents(session, fps)]
    end_s = max(event.t_s for event in events)
    events.append(Ended(t_s=end_s, reason="finished", played_s=float(session.prices.duration_s.sum())))
    return sorted(events, key=lambda event: event.t_s)


class _SegmentEvents:
    """The events of each segment: decided, downloaded, playing or stalled, shown."""

    def __init__(self, session: Session, fps: float) -> None:
        self._session, self._prices, self._fps = session, session.prices, fps

    def __iter__(self) -> Iterator[AnyEvent]:
        owned: set[str] = set()
        for segment, step in enumerate(self._session.steps):
            yield self._decided(segment, step, owned)
            owned.update(self._prices.weights[step.fetched])
            downloaded = self._downloaded(segment, step)
            yield downloaded
            if segment == 0:
                yield Playing(t_s=downloaded.t_s, startup_s=self._session.startup_s)
            elif step.stall_s > 0:
                yield Stalled(t_s=downloaded.t_s, duration_s=step.stall_s, segment=segment)
            yield self._shown(segment, step)

    def _decided(self, segment: int, step: SimulatedSegment, owned: set[str]) -> Decided:
        prices, decision = self._prices, step.decision
        choice = prices.choices[decision.option]
        return Decided(
            t_s=step.observation.now_s,
            segment=segment,
            rendition=prices.rendition_ids[choice.rendition],
            enhancer=choice.enhancer,
            wait_s=decision.wait_s,
            reason=decision.reason,
            promised_vmaf=float(prices.vmaf[segment, decision.option]),
            promised_quality=prices.shown_quality(segment, decision.option),
            size_bytes=int(prices.size_bytes[segment, decision.option]),
            seen=seen_of(step.observation, sorted(owned)),
        )

    def _downloaded(self, segment: int, step: SimulatedSegment) -> Downloaded:
        choice, download = self._prices.choices[step.decision.option], step.download
        return Downloaded(
            t_s=download.started_s + download.duration_s,
            kind="video",
            started_s=download.started_s,
            latency_s=download.latency_s,
            duration_s=download.duration_s,
            size_bytes=download.size_bytes,
            segment=segment,
            name=self._prices.rendition_ids[choice.rendition],
        )

    def _shown(self, segment: int, step: SimulatedSegment) -> Shown:
        choice, duration_s = self._prices.choices[step.shown], float(self._prices.duration_s[segment])
        frames = round(duration_s * self._fps)
        enhanced_frames = frames if choice.enhancer != PLAIN else 0
        return Shown(
            t_s=step.starts_s + duration_s,
            segment=segment,
            rendition=self._prices.rendition_ids[choice.rendition],
            enhancer=choice.enhancer,
            frames=frames,
            enhanced_frames=enhanced_frames,
            plain_frames=frames - enhanced_frames,
            late_frames=0,
            buffer_s=step.observation.buffer_s,
            backlog_s=step.observation.backlog_s,
        )

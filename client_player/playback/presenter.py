"""A bounded queue of finished frames, and the presenter that shows each at its instant."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import UNSET, UnsetType

from abr.core.enhancement import PLAIN
from abr.core.events import AnyEvent, Playing, Shown, Stalled
from abr.virtual_time import SessionClock
from client_player.playback.sink import Sink
from client_player.playback.timeline import RESYNC_S, Timeline
from client_player.worker_thread import WorkerThread
from enhancers.runtime.frames import Frame

HEAD_START_S = 2.5
"""Media seconds of finished frames that may wait to be shown."""
_MEMORY_MAX_BYTES = 256 << 20
_FRAMES_MIN = 8
PREFILL_S = 0.25
"""Seconds of finished frames with which playback starts, and continues after a stall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameJob:
    """A downloaded segment to be shown, or a part of one. data: init and media, empty when the download failed.

    enhancer: what was decided for it. first_frame and start_s: its place in what is played. frames: to be shown of it;
    hidden: before those, which are decoded only.
    """

    segment: int
    data: bytes = field(repr=False)
    rendition: str
    enhancer: str
    frames: int
    first_frame: int
    start_s: float
    live_s: float | None = None
    """Of a live stream, the session time of its first picture in front of the camera."""
    first_number: int = 0
    """Of a part, where it begins in its segment, in frames."""
    is_last: bool = True
    hidden: int = 0
    key: str = field(default="", repr=False)
    """Of a protected title, in hex."""

    @property
    def is_part(self) -> bool:
        """Of a segment that comes in parts, which one decoder decodes."""
        return self.first_number > 0 or not self.is_last


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyFrame:
    """A frame at display size, finished at `ready_s`. missing: the frame before it stands in for one that was lost."""

    job: FrameJob
    number: int
    """Within its job."""
    media_s: float
    frame: Frame
    enhancer: str
    cost_s: float
    ready_s: float
    missing: bool = False
    lowered: bool = False
    """Made with less computing than a frame plan says."""
    energy_j: float = 0.0
    """That enhancing it took."""

    @property
    def last(self) -> bool:
        """Whether it is the last of its segment."""
        return self.job.is_last and self.number == self.job.frames - 1


def capacity(fps: float, width_px: int, height_px: int) -> int:
    """Frames that may wait to be shown: `HEAD_START_S` of media, bounded by memory (1.5 bytes a pixel)."""
    affordable = int(_MEMORY_MAX_BYTES / (1.5 * width_px * height_px))
    return max(_FRAMES_MIN, min(round(HEAD_START_S * fps), affordable))


def _latency_s(ready: ReadyFrame, now_s: float) -> float | UnsetType:
    """From in front of the camera to the screen; only live streams tell."""
    if ready.job.live_s is None:
        return UNSET
    return max(0.0, now_s - ready.job.live_s - (ready.media_s - ready.job.start_s))


class FrameQueue:
    """First in, first out, bounded. One producer and one consumer."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames: deque[ReadyFrame] = deque()
        self._changed = asyncio.Condition()
        self._starved = False
        self._closed = False

    @property
    def half_full(self) -> bool:
        """At least half full: the producer is ahead of the screen."""
        return len(self._frames) >= self._capacity / 2

    async def put(self, ready: ReadyFrame) -> None:
        """Waits while the queue is full."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._frames) < self._capacity)
            self._frames.append(ready)
            self._changed.notify_all()

    async def peek(self) -> ReadyFrame | None:
        """The oldest frame, which stays in the queue; None when all frames have been shown."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._frames) or self._closed)
            return self._frames[0] if self._frames else None

    async def wait_filled(self, frames: int) -> None:
        """Return when this many frames wait, or the producer has no more for now."""
        enough = min(frames, self._capacity)
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._frames) >= enough or self._starved or self._closed)

    async def pop(self) -> None:
        """Take the first frame away."""
        async with self._changed:
            self._frames.popleft()
            self._changed.notify_all()

    async def set_starved(self, starved: bool) -> None:
        """The producer has nothing left to work on until the next segment is downloaded (or has again)."""
        async with self._changed:
            self._starved = starved
            self._changed.notify_all()

    async def close(self) -> None:
        """Say that no more frames will come."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(slots=True)
class _Tally:
    """Counts of the frames of one segment."""

    frames: int = 0
    enhanced: int = 0
    late: int = 0
    lowered: int = 0
    energy_j: float = 0.0
    costs_ms: list[float] = field(default_factory=list)

    def count(self, ready: ReadyFrame, due_s: float) -> None:
        self.frames += 1
        self.enhanced += ready.enhancer != PLAIN
        self.lowered += ready.lowered
        self.energy_j += ready.energy_j
        self.late += ready.missing or ready.ready_s > due_s
        if ready.enhancer != PLAIN:
            self.costs_ms.append(ready.cost_s * 1000)

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.costs_ms, percent)) if self.costs_ms else 0.0


class Presenter:
    """Shows frames at their instants and logs what was shown. backlog_s: compute seconds of enhancement still to do."""

    def __init__(
        self,
        *,
        queue: FrameQueue,
        timeline: Timeline,
        clock: SessionClock,
        fps: float,
        sinks: Sequence[Sink],
        log_event: Callable[[AnyEvent], None],
        backlog_s: Callable[[], float],
    ) -> None:
        self._queue, self._timeline, self._clock, self._sinks = queue, timeline, clock, sinks
        self._log_event, self._backlog_s = log_event, backlog_s
        self._prefill = max(1, round(PREFILL_S * fps))

    async def run(self) -> None:
        """Show all frames; returns when the time of the last one is over."""
        tally, before = _Tally(), None
        with WorkerThread("sink") as compute:
            while (ready := await self._queue.peek()) is not None:
                if before is not None and before.job.segment != ready.job.segment:
                    self._report(before, tally)
                    tally = _Tally()
                due_s = await self._schedule(ready)
                await self._clock.sleep_until(due_s)
                if self._sinks:
                    await compute.run(self._show, ready)
                await self._queue.pop()
                tally.count(ready, due_s)
                before = ready
                if ready.last:
                    self._report(ready, tally)
                    tally, before = _Tally(), None
        if before is not None:  # of a segment that broke off
            self._report(before, tally)
        end_s = self._timeline.due_s(self._timeline.arrived_s)
        if end_s is not None:
            await self._clock.sleep_until(end_s)

    async def _schedule(self, ready: ReadyFrame) -> float:
        """When to show it. Starts playback if it is stopped, after a pause if the frame is too late."""
        due_s = self._timeline.due_s(ready.media_s)
        if due_s is not None and ready.ready_s - due_s > RESYNC_S:
            self._timeline.stop_at(ready.media_s)
            due_s = None
        if due_s is None:
            await self._queue.wait_filled(self._prefill)
            self._resume(ready)
            due_s = self._timeline.due_s(ready.media_s)
            assert due_s is not None
        return due_s

    def _resume(self, ready: ReadyFrame) -> None:
        now_s = self._clock.now_s()
        pause = self._timeline.resume(now_s)
        if pause.startup:
            self._log_event(Playing(t_s=now_s, startup_s=now_s))
        else:
            self._log_event(Stalled(t_s=now_s, duration_s=pause.duration_s, segment=ready.job.segment))

    def _show(self, ready: ReadyFrame) -> None:
        for sink in self._sinks:
            sink.show(ready.job.first_frame + ready.number, ready.frame)

    def _report(self, ready: ReadyFrame, tally: _Tally) -> None:
        now_s = self._clock.now_s()
        self._log_event(
            Shown(
                t_s=now_s,
                segment=ready.job.segment,
                rendition=ready.job.rendition,
                enhancer=ready.job.enhancer,
                frames=tally.frames,
                enhanced_frames=tally.enhanced,
                plain_frames=tally.frames - tally.enhanced,
                late_frames=tally.late,
                buffer_s=self._timeline.buffer_s(now_s),
                backlog_s=self._backlog_s(),
                enhance_p50_ms=tally.percentile_ms(50),
                enhance_p95_ms=tally.percentile_ms(95),
                latency_s=_latency_s(ready, now_s),
                energy_j=tally.energy_j or UNSET,
                lowered_frames=tally.lowered or UNSET,
            )
        )

"""The screen: a bounded queue of finished frames, and the presenter that shows each at its instant."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from abr.clock import SessionClock
from abr.enhancement import PLAIN
from abr.events import AnyEvent, Playing, Shown, Stalled
from client_player.compute import Compute
from client_player.playout import RESYNC_S, Playout
from client_player.sink import Sink
from enhancers.frames import Frame

HEAD_START_S = 2.5
"""Media seconds of finished frames that may wait to be shown."""
_MEMORY_MAX_BYTES = 256 << 20
_FRAMES_MIN = 8
PREFILL_S = 0.25
"""Finished frames with which play-out begins, and begins again after a stall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A downloaded segment to be shown. data: init and media segment, empty when it could not be had.

    enhancer: what was decided for it. first_frame and start_s: its place in the title.
    """

    segment: int
    data: bytes = field(repr=False)
    rendition: str
    enhancer: str
    frames: int
    first_frame: int
    start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A frame at display size, finished at `ready_s`. missing: the frame before it stands in for one that was lost."""

    job: Job
    number: int
    """Within its segment."""
    media_s: float
    frame: Frame
    enhancer: str
    cost_s: float
    ready_s: float
    missing: bool = False

    @property
    def last(self) -> bool:
        return self.number == self.job.frames - 1


def capacity(fps: float, width_px: int, height_px: int) -> int:
    """Frames that may wait: a head start of media, within bounds of memory (1.5 bytes a pixel)."""
    affordable = int(_MEMORY_MAX_BYTES / (1.5 * width_px * height_px))
    return max(_FRAMES_MIN, min(round(HEAD_START_S * fps), affordable))


class FrameQueue:
    """First in, first out, bounded. One producer and one consumer."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames: deque[Ready] = deque()
        self._changed = asyncio.Condition()
        self._starved = False
        self._closed = False

    @property
    def well_filled(self) -> bool:
        """At least half full: the producer is ahead of the screen."""
        return len(self._frames) >= self._capacity / 2

    async def put(self, ready: Ready) -> None:
        """Waits while the queue is full."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._frames) < self._capacity)
            self._frames.append(ready)
            self._changed.notify_all()

    async def first(self) -> Ready | None:
        """The oldest frame, left in its place; None when all frames have gone through."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._frames) or self._closed)
            return self._frames[0] if self._frames else None

    async def filled(self, frames: int) -> None:
        """Return when this many frames wait, or no more can come for now."""
        enough = min(frames, self._capacity)
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._frames) >= enough or self._starved or self._closed)

    async def pop(self) -> None:
        async with self._changed:
            self._frames.popleft()
            self._changed.notify_all()

    async def set_starved(self, starved: bool) -> None:
        """The producer has nothing left to work on until the next segment is downloaded (or has again)."""
        async with self._changed:
            self._starved = starved
            self._changed.notify_all()

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(slots=True)
class _Tally:
    """What became of the frames of one segment."""

    enhanced: int = 0
    late: int = 0
    costs_ms: list[float] = field(default_factory=list)

    def count(self, ready: Ready, due_s: float) -> None:
        self.enhanced += ready.enhancer != PLAIN
        self.late += ready.missing or ready.ready_s > due_s
        if ready.enhancer != PLAIN:
            self.costs_ms.append(ready.cost_s * 1000)

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.costs_ms, percent)) if self.costs_ms else 0.0


class Presenter:
    """Shows frames at their instants and says what was seen. `backlog_s` tells of enhancement work still to do."""

    def __init__(
        self,
        *,
        queue: FrameQueue,
        playout: Playout,
        clock: SessionClock,
        fps: float,
        sinks: Sequence[Sink],
        tell: Callable[[AnyEvent], None],
        backlog_s: Callable[[], float],
    ) -> None:
        self._queue, self._playout, self._clock, self._sinks = queue, playout, clock, sinks
        self._tell, self._backlog_s = tell, backlog_s
        self._prefill = max(1, round(PREFILL_S * fps))

    async def run(self) -> None:
        """Until the last frame's time is over."""
        tally = _Tally()
        with Compute("sink") as compute:
            while (ready := await self._queue.first()) is not None:
                due_s = await self._due(ready)
                await self._clock.sleep_until(due_s)
                if self._sinks:
                    await compute.run(self._show, ready)
                await self._queue.pop()
                tally.count(ready, due_s)
                if ready.last:
                    self._report(ready, tally)
                    tally = _Tally()
        end_s = self._playout.due_s(self._playout.arrived_s)
        if end_s is not None:
            await self._clock.sleep_until(end_s)

    async def _due(self, ready: Ready) -> float:
        """When to show it; starts play-out if it stands, and lets it stand if the screen is too far behind."""
        due_s = self._playout.due_s(ready.media_s)
        if due_s is not None and ready.ready_s - due_s > RESYNC_S:
            self._playout.fall_behind(ready.media_s)
            due_s = None
        if due_s is None:
            await self._queue.filled(self._prefill)
            self._resume(ready)
            due_s = self._playout.due_s(ready.media_s)
            assert due_s is not None
        return due_s

    def _resume(self, ready: Ready) -> None:
        now_s = self._clock.now_s()
        pause = self._playout.resume(now_s)
        if pause.startup:
            self._tell(Playing(t_s=now_s, startup_s=now_s))
        else:
            self._tell(Stalled(t_s=now_s, duration_s=pause.duration_s, segment=ready.job.segment))

    def _show(self, ready: Ready) -> None:
        for sink in self._sinks:
            sink.show(ready.job.first_frame + ready.number, ready.frame)

    def _report(self, ready: Ready, tally: _Tally) -> None:
        now_s = self._clock.now_s()
        self._tell(
            Shown(
                t_s=now_s,
                segment=ready.job.segment,
                rendition=ready.job.rendition,
                enhancer=ready.job.enhancer,
                frames=ready.job.frames,
                enhanced_frames=tally.enhanced,
                plain_frames=ready.job.frames - tally.enhanced,
                late_frames=tally.late,
                buffer_s=self._playout.buffer_s(now_s),
                backlog_s=self._backlog_s(),
                enhance_p50_ms=tally.percentile_ms(50),
                enhance_p95_ms=tally.percentile_ms(95),
            )
        )

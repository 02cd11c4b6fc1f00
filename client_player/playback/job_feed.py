"""What is put into the queue of jobs: segments and parts of them, each at its place in what is played."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from abr.core.enhancement import PLAIN
from abr.core.events import Decided
from abr.core.title import Title
from abr.virtual_time import SessionClock
from client_player.playback.latency import playback_rate
from client_player.playback.presenter import FrameJob
from client_player.playback.timeline import Timeline
from client_player.playback.worker import EnhancementWorker
from client_player.source.base import LiveMoment, PlayableSegment

_JOBS_MAX = 256


class JobFeed:
    """Puts jobs into `jobs`, in order. It tells timeline and worker of them, and keeps a live stream's latency."""

    def __init__(
        self, title: Title, worker: EnhancementWorker, timeline: Timeline, clock: SessionClock, *, key: str = ""
    ) -> None:
        self.jobs: asyncio.Queue[FrameJob | None] = asyncio.Queue(_JOBS_MAX)
        self._title, self._worker, self._timeline, self._clock = title, worker, timeline, clock
        self._key = key
        self._first_frame, self._start_s = 0, 0.0
        """Where what is put into the queue next begins, in what is played."""

    def next_job(self, playable: PlayableSegment, decided: Decided | None = None, data: bytes = b"") -> FrameJob:
        """A whole segment that follows all that was put so far."""
        return FrameJob(
            segment=playable.segment,
            data=data,
            rendition=decided.rendition if decided else self._title.renditions[0].id,
            enhancer=decided.enhancer if decided else PLAIN,
            frames=playable.frames,
            first_frame=self._first_frame,
            start_s=self._start_s,
            key=self._key,
        )

    async def put(self, job: FrameJob, playable: PlayableSegment, into_s: float | None = None) -> None:
        """The job's media have come. into_s: where a part begins in its segment."""
        now_s, live = self._clock.now_s(), playable.live
        duration_s = playable.duration_s if into_s is None else job.frames / self._title.fps
        self._timeline.add_media(now_s, duration_s)
        self._worker.accept(job)
        if live is not None:
            job = replace(job, live_s=live.captured_s + (into_s or 0.0))
            self._keep_latency(now_s, job, live)
        await self.jobs.put(job)
        self._first_frame, self._start_s = self._first_frame + job.frames, self._start_s + duration_s

    async def close(self) -> None:
        """No more will come."""
        await self.jobs.put(None)

    def _keep_latency(self, now_s: float, job: FrameJob, live: LiveMoment) -> None:
        shown_s = (job.live_s or 0.0) - job.start_s + self._timeline.playhead_s(now_s)
        rate = playback_rate(now_s - shown_s, live.target_s, self._timeline.buffer_s(now_s))
        self._timeline.set_rate(now_s, rate)

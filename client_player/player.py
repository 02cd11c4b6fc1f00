"""One session: fetch, decode, enhance, show, each a task; bounded queues between them; every event told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abr.clock import SessionClock
from abr.control import Download
from abr.device import DeviceProfile
from abr.enhancement import PLAIN, Chunk, Family
from abr.errors import ToprungError
from abr.events import Decided, Ended, Failed
from client_player.compute import Compute
from client_player.deadline import Keeper
from client_player.download import DownloadError, Reply, Transport, joined
from client_player.enhance import Worker
from client_player.guide import Guide, Served, View
from client_player.manifest import Track
from client_player.pair import Keepsake, write_pair
from client_player.playout import Playout
from client_player.screen import FrameQueue, Job, Presenter, capacity
from client_player.sink import Sink
from client_player.sound import Sound
from client_player.supply import Supply
from client_player.telemetry import SessionLog, downloaded
from client_player.toolbox import Opener, Toolbox

_DOWNLOADS_KEPT = 16
_LOST_MAX = 3
"""Segments in a row that may be lost before the session is given up."""
_JOBS_MAX = 256
STOPPED = "stopped"
"""The reason of an end that somebody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How to play. families: what may be used on stepping down. opener: opens offers. sinks: take the shown frames."""

    profile: DeviceProfile | None
    families: Collection[Family]
    buffer_max_s: float
    opener: Opener
    sinks: Sequence[Sink] = ()


class Player:
    """Plays what a guide leads through, from its first segment to its last, once."""

    def __init__(
        self, guide: Guide, setup: Setup, *, transport: Transport, clock: SessionClock, log: SessionLog
    ) -> None:
        self._guide, self._setup, self._transport = guide, setup, transport
        self._clock, self._log = clock, log
        title = guide.title
        self._downloads: deque[Download] = deque(maxlen=_DOWNLOADS_KEPT)
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue(_JOBS_MAX)
        self._opening = Compute("open")
        self._listening = Compute("audio")
        self._lost = 0
        self._keepsake = Keepsake()
        self._sound = self._open_sound(guide.presentation.audio)
        self.playout = Playout()
        self._supply = Supply(
            transport,
            guide.title_url,
            playout=self.playout,
            clock=clock,
            came=self._chunk_came,
            failed=lambda detail: self._failed("weights", detail),
        )
        self._toolbox = Toolbox(
            title=title,
            table=guide.table,
            profile=setup.profile,
            families=setup.families,
            weights=self._supply.weights,
            opener=setup.opener,
            compute=self._opening,
            tell=lambda detail: self._failed("enhancer", detail),
        )
        self._keeper = Keeper(frame_s=1 / title.fps)
        queue = FrameQueue(capacity(title.fps, title.display_width_px, title.display_height_px))
        self._worker = Worker(
            queue=queue,
            keeper=self._keeper,
            toolbox=self._toolbox,
            playout=self.playout,
            clock=clock,
            display_px=(title.display_width_px, title.display_height_px),
            tell=log.tell,
        )
        self._presenter = Presenter(
            queue=queue,
            playout=self.playout,
            clock=clock,
            fps=title.fps,
            sinks=setup.sinks,
            tell=log.tell,
            backlog_s=self._worker.backlog_s,
        )

    def _open_sound(self, tracks: Sequence[Track]) -> Sound | None:
        if not tracks:
            return None
        return Sound(
            tracks[0],
            self._transport,
            self._listening,
            came=lambda kind, segment, timing: self._came(kind, timing, segment=segment, name=tracks[0].id),
            failed=lambda detail: self._failed("audio", detail),
        )

    async def play(self) -> None:
        """To the end. Raises ToprungError when the session breaks; the log says so either way."""
        reason = "finished"
        posting = asyncio.create_task(self._log.keep_posting(self._clock, self._guide.post))
        try:
            with self._opening, self._listening:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._fetch(tasks))
                    tasks.create_task(self._worker.run(self._jobs))
                    tasks.create_task(self._presenter.run())
        except BaseExceptionGroup as group:
            error = group.exceptions[0]
            reason = str(error) or type(error).__name__
            raise error from None
        except asyncio.CancelledError:
            reason = STOPPED
            raise
        finally:
            posting.cancel()
            self._supply.stop()
            now_s = self._clock.now_s()
            self._log.tell(Ended(t_s=now_s, reason=reason[:1024], played_s=self.playout.playhead_s(now_s)))

    async def write_pair(self, folder: Path) -> None:
        """Leave a before/after pair in `folder`, if anything was enhanced. Call it after `play`."""
        job = self._keepsake.job
        tool = await self._toolbox.opened(job.enhancer, job.rendition, 0.0) if job else None
        if tool is not None:
            size = tool.descriptor
            scaler = self._toolbox.plain(size.width_px, size.height_px)
            with Compute("pair") as compute:
                await compute.run(write_pair, self._keepsake, tool, scaler, self._guide.title.fps, folder)

    async def _fetch(self, tasks: asyncio.TaskGroup) -> None:
        title = self._guide.title
        first_frame, start_s, not_before_s = 0, 0.0, 0.0
        for index, (frames, duration_s) in enumerate(zip(title.segment_frames, title.segment_duration_s, strict=True)):
            await self._clock.sleep_until(not_before_s)
            await self._room(duration_s)
            sound = tasks.create_task(self._sound_until(start_s + duration_s))  # asked for right behind the picture
            served = await self._video(index)
            heard = await sound
            if served is not None:
                frames = served.frames or frames
                not_before_s = served.not_before_s
                await self._enhancement(served.decided)
                self._downloads.append(joined(served.timing, [*heard, *self._supply.fetched()]))
            job = Job(
                segment=index,
                data=served.init + served.body if served else b"",
                rendition=served.decided.rendition if served else title.renditions[0].id,
                enhancer=served.decided.enhancer if served else PLAIN,
                frames=frames,
                first_frame=first_frame,
                start_s=start_s,
            )
            self.playout.arrive(self._clock.now_s(), duration_s)
            self._worker.accept(job)
            if served is not None and served.decided.enhancer != PLAIN:
                plain_vmaf = title.plain_quality[job.rendition].vmaf[index]
                self._keepsake.consider(job, plain_vmaf, served.decided.promised_vmaf)
            await self._jobs.put(job)
            first_frame, start_s = first_frame + frames, start_s + duration_s
        await self._jobs.put(None)

    async def _room(self, duration_s: float) -> None:
        """Wait until the buffer can hold another segment; a single one always fits."""
        while True:
            now_s = self._clock.now_s()
            buffer_s = self.playout.buffer_s(now_s)
            excess_s = min(buffer_s + duration_s - self._setup.buffer_max_s, buffer_s)
            if excess_s <= 0:
                return
            await self._clock.sleep_until(now_s + max(excess_s, 0.001))

    def _view(self) -> View:
        now_s = self._clock.now_s()
        return View(
            now_s=now_s,
            buffer_s=self.playout.buffer_s(now_s),
            buffer_max_s=self._setup.buffer_max_s,
            backlog_s=self._worker.backlog_s(),
            playing=self.playout.started,
            stalled=self.playout.started and not self.playout.moving(now_s),
            downloads=tuple(self._downloads),
            owned=self._supply.weights.owned,
        )

    async def _video(self, index: int) -> Served | None:
        """The decided segment, or None when it is lost: then the screen stands still for as long as it lasts."""
        try:
            served = await self._guide.segment(index, self._view())
        except DownloadError as error:
            self._lost += 1
            if self._lost >= _LOST_MAX:
                raise ToprungError(f"Gave up after losing {self._lost} segments in a row: {error}") from error
            self._failed("segment", f"segment {index} is lost: {error}")
            return None
        self._lost = 0
        self._log.tell(served.decided)
        self._came("video", served.timing, segment=index, name=served.decided.rendition)
        return served

    async def _sound_until(self, media_s: float) -> list[Download]:
        return await self._sound.fetch_until(media_s) if self._sound is not None else []

    async def _enhancement(self, decided: Decided) -> None:
        """Get the weights that the decided enhancer needs, and begin to open it."""
        offer = self._toolbox.offer(decided.enhancer, decided.rendition)
        if offer is not None and await self._supply.bring(offer):
            self._toolbox.prepare(decided.enhancer, decided.rendition)

    def _chunk_came(self, chunk: Chunk, reply: Reply) -> None:
        self._came("weights", reply.timing, name=chunk.file[-128:])

    def _came(self, kind: str, timing: Download, *, segment: int = 0, name: str) -> None:
        self._log.tell(downloaded(kind, timing, segment=segment, name=name))

    def _failed(self, what: str, detail: str) -> None:
        self._log.tell(Failed(t_s=self._clock.now_s(), what=what, detail=detail[:1024]))

    @property
    def sound_apart_s(self) -> float:
        """The most by which the sound that came differs from the time line."""
        return self._sound.apart_s if self._sound else 0.0

    @property
    def failed_s(self) -> Mapping[str, float]:
        """Seconds a frame of enhancers that could not keep up, by `client_player.setbacks.measured_key`."""
        return self._keeper.failed_s

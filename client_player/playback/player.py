"""Plays one session: fetching, decoding with enhancement, and showing are tasks with bounded queues between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from abr.core.control import DOWNLOADS_MAX, Download
from abr.core.device import DeviceProfile
from abr.core.enhancement import PLAIN, Chunk, Family
from abr.core.events import Decided, Ended, Failed
from abr.errors import StorageError, ToprungError
from abr.virtual_time import SessionClock
from client_player.decoder import count_frames
from client_player.playback.audio import AudioFetcher
from client_player.playback.before_after import (
    BeforeAfterRecorder,
    Candidate,
    Pair,
    choose_pair,
    find_pair,
    write_pair,
)
from client_player.playback.deadline import DeadlineKeeper
from client_player.playback.enhancer_pool import EnhancerPool, Opener
from client_player.playback.job_feed import JobFeed
from client_player.playback.presenter import FrameJob, FrameQueue, Presenter, capacity
from client_player.playback.sink import Sink
from client_player.playback.timeline import Timeline
from client_player.playback.weights_prefetch import WeightsPrefetcher
from client_player.playback.worker import EnhancementWorker
from client_player.session_log import SessionLog, to_downloaded_event
from client_player.source.base import (
    AbsentSegmentError,
    GrowingSegment,
    PlayableSegment,
    PlayerView,
    ServedSegment,
    Source,
)
from client_player.source.mpd import Track, choose_sound
from client_player.source.speed_drift import seen_frame_ms
from client_player.transport.http import DownloadError, HttpReply, Transport, merge_downloads
from client_player.worker_thread import WorkerThread

_LOST_MAX = 3
"""Segments in a row that may be lost before the session is given up."""
STOPPED = "stopped"
"""The reason in the Ended event of a session that the user stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayerSetup:
    """How to play. families: of enhancers to step down to. opener: opens offers. sinks: get the shown frames.

    language: of the sound, BCP 47; none for the one that plays unless asked. key: of a protected title, in hex.
    keep: called in a thread with each segment that came whole.
    """

    profile: DeviceProfile | None
    families: Collection[Family]
    buffer_max_s: float
    opener: Opener
    sinks: Sequence[Sink] = ()
    language: str = ""
    key: str = field(default="", repr=False)
    keep: Callable[[ServedSegment], None] | None = None


class Player:
    """Plays the segments of a source once, in order."""

    def __init__(
        self, source: Source, setup: PlayerSetup, *, transport: Transport, clock: SessionClock, log: SessionLog
    ) -> None:
        self._source, self._setup, self._transport = source, setup, transport
        self._clock, self._log = clock, log
        title = source.title
        self._downloads: deque[Download] = deque(maxlen=DOWNLOADS_MAX)
        self._opening_thread = WorkerThread("open")
        self._audio_thread = WorkerThread("audio")
        self._counting_thread = WorkerThread("count")
        self._lost = 0
        self._before_after = BeforeAfterRecorder()
        self._audio = self._make_audio_fetcher(source.presentation.audio)
        self.timeline = Timeline()
        self._weights = WeightsPrefetcher(
            transport,
            source.title_url,
            timeline=self.timeline,
            clock=clock,
            on_chunk=self._log_chunk,
            on_failure=lambda detail: self._log_failure("weights", detail),
        )
        self._enhancers = EnhancerPool(
            title=title,
            table=source.table,
            profile=setup.profile,
            families=setup.families,
            weights=self._weights.weights,
            opener=setup.opener,
            compute=self._opening_thread,
            on_failure=lambda detail: self._log_failure("enhancer", detail),
        )
        self._deadlines = DeadlineKeeper(frame_s=1 / title.fps)
        queue = FrameQueue(capacity(title.fps, title.display_width_px, title.display_height_px))
        self._worker = EnhancementWorker(
            queue=queue,
            deadlines=self._deadlines,
            enhancers=self._enhancers,
            timeline=self.timeline,
            clock=clock,
            display_px=(title.display_width_px, title.display_height_px),
            log_event=log.append,
        )
        self._feed = JobFeed(title, self._worker, self.timeline, clock, key=setup.key)
        self._presenter = Presenter(
            queue=queue,
            timeline=self.timeline,
            clock=clock,
            fps=title.fps,
            sinks=setup.sinks,
            log_event=log.append,
            backlog_s=self._worker.backlog_s,
        )

    def _make_audio_fetcher(self, tracks: Sequence[Track]) -> AudioFetcher | None:
        chosen = choose_sound(tracks, self._setup.language)
        if chosen is None:
            return None
        return AudioFetcher(
            lambda: next(track for track in self._source.presentation.audio if track.id == chosen.id),
            self._transport,
            self._audio_thread,
            on_download=lambda kind, segment, timing: self._log_download(kind, timing, segment=segment, name=chosen.id),
            on_failure=lambda detail: self._log_failure("audio", detail),
            key=self._setup.key,
        )

    async def play(self) -> None:
        """Play to the end. Raises ToprungError when the session fails. The log gets an Ended event either way."""
        reason = "finished"
        posting = asyncio.create_task(self._log.keep_posting(self._clock, self._source.post_events))
        try:
            with self._opening_thread, self._audio_thread, self._counting_thread:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._fetch(tasks))
                    tasks.create_task(self._worker.run(self._feed.jobs))
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
            self._weights.stop()
            now_s = self._clock.now_s()
            self._log.append(Ended(t_s=now_s, reason=reason[:1024], played_s=self.timeline.playhead_s(now_s)))

    async def write_pair(self, folder: Path) -> None:
        """Write a before/after pair into `folder`, if anything was enhanced. Call it after `play`."""
        with WorkerThread("pair") as compute:

            async def find(candidate: Candidate) -> Pair | None:
                job = candidate.job
                enhancer = await self._enhancers.get_enhancer(job.enhancer, job.rendition, 0.0)
                if enhancer is None:
                    return None
                size = enhancer.descriptor
                scaler = self._enhancers.plain_scaler(size.width_px, size.height_px)
                return await compute.run(find_pair, candidate, enhancer, scaler)

            pair = await choose_pair(self._before_after.candidates, find)
            if pair is not None:
                await compute.run(write_pair, pair, self._source.title.fps, folder)

    async def _fetch(self, tasks: asyncio.TaskGroup) -> None:
        not_before_s, media_s = 0.0, 0.0
        async for playable in self._source.segments():
            duration_s = playable.duration_s
            if self._audio is not None and playable.media_s > media_s + duration_s / 2:  # not from the beginning on
                self._audio.begin_at(playable.media_s)
            media_s = playable.media_s + duration_s
            self._enhancers.take_table(self._source.table)
            await self._clock.sleep_until(not_before_s)
            await self._wait_for_room(duration_s)
            sound = None
            if not playable.grows:  # asked for right behind the picture
                sound = tasks.create_task(self._fetch_audio_until(media_s))
            try:
                served = await self._fetch_video(playable.segment)
            except AbsentSegmentError:
                continue
            sound = sound or tasks.create_task(self._fetch_audio_until(media_s))
            if served is None:
                await self._feed.put(self._feed.next_job(playable), playable)
            elif isinstance(served, ServedSegment):
                await self._play_whole(playable, served, await sound)
                not_before_s = served.not_before_s
            else:
                tasks.create_task(self._prepare_enhancer(served.decided))  # its weights come beside it
                await self._play_growing(playable, served)
            await sound
        await self._feed.close()

    async def _play_whole(
        self, playable: PlayableSegment, served: ServedSegment, audio_downloads: Sequence[Download]
    ) -> None:
        await self._prepare_enhancer(served.decided)
        self._downloads.append(merge_downloads(served.timing, [*audio_downloads, *self._weights.take_downloads()]))
        job = self._feed.next_job(playable, served.decided, served.init + served.body)
        await self._feed.put(replace(job, frames=served.frames or playable.frames), playable)
        self._consider_pair(job, served.decided)

    async def _play_growing(self, playable: PlayableSegment, segment: GrowingSegment) -> None:
        """Put each part of a segment into the queue as it comes; what is lost of it is a gap."""
        frame_s, number, body = 1 / self._source.title.fps, 0, segment.init
        whole = self._feed.next_job(playable, segment.decided)
        async for part in self._parts(playable, segment):
            left = playable.frames - number
            frames = min(left, await self._counting_thread.run(count_frames, segment.init + part)) if part else left
            hidden = min(frames, max(0, playable.hidden_frames - number))
            job = replace(
                self._feed.next_job(playable, segment.decided, segment.init + part if part else b""),
                frames=frames - hidden,
                first_number=number,
                is_last=frames == left,
                hidden=hidden,
            )
            await self._feed.put(job, playable, (number + hidden) * frame_s)
            number, body = number + frames, body + part
        self._downloads.append(segment.timing())
        event = to_downloaded_event("video", segment.timing(), segment=playable.segment, name=segment.decided.rendition)
        self._log.append(msgspec.structs.replace(event, t_s=self._clock.now_s()))
        self._consider_pair(replace(whole, data=body), segment.decided)

    async def _parts(self, playable: PlayableSegment, segment: GrowingSegment) -> AsyncGenerator[bytes]:
        """The parts of a segment; an empty one stands for the rest of one that has broken off."""
        try:
            async for part in segment.parts():
                yield part
        except DownloadError as error:
            self._log_failure("segment", f"segment {playable.segment} broke off: {error}")
            yield b""

    def _consider_pair(self, job: FrameJob, decided: Decided) -> None:
        if decided.enhancer != PLAIN:
            known = self._source.title.plain_quality[job.rendition].vmaf
            plain_vmaf = known[min(job.segment, len(known) - 1)]  # a live title has one usual segment
            self._before_after.consider(job, plain_vmaf, decided.promised_vmaf)

    async def _wait_for_room(self, duration_s: float) -> None:
        """Wait until the buffer can hold another segment. An empty buffer always can."""
        while True:
            now_s = self._clock.now_s()
            buffer_s = self.timeline.buffer_s(now_s)
            excess_s = min(buffer_s + duration_s - self._setup.buffer_max_s, buffer_s)
            if excess_s <= 0:
                return
            await self._clock.sleep_until(now_s + max(excess_s, 0.001))

    def _current_view(self) -> PlayerView:
        now_s = self._clock.now_s()
        return PlayerView(
            now_s=now_s,
            buffer_s=self.timeline.buffer_s(now_s),
            buffer_max_s=self._setup.buffer_max_s,
            backlog_s=self._worker.backlog_s(),
            playing=self.timeline.started,
            stalled=self.timeline.started and not self.timeline.is_moving(now_s),
            downloads=tuple(self._downloads),
            owned=self._weights.weights.owned,
            frame_ms=self.frame_ms,
        )

    async def _fetch_video(self, index: int) -> ServedSegment | GrowingSegment | None:
        """The decided segment, or None when it is lost: then the last frame is shown for as long as it lasts."""
        try:
            served = await self._source.fetch_segment(index, self._current_view())
        except AbsentSegmentError:
            raise
        except DownloadError as error:
            self._lost += 1
            if self._lost >= _LOST_MAX:
                raise ToprungError(f"Gave up after losing {self._lost} segments in a row: {error}") from error
            self._log_failure("segment", f"segment {index} is lost: {error}")
            return None
        self._lost = 0
        self._log.append(served.decided)
        if isinstance(served, ServedSegment):
            self._log_download("video", served.timing, segment=index, name=served.decided.rendition)
            await self._keep(served)
        return served

    async def _keep(self, served: ServedSegment) -> None:
        """A folder that cannot be written to costs what was to be kept, not the session."""
        if self._setup.keep is None:
            return
        try:
            await asyncio.to_thread(self._setup.keep, served)
        except StorageError as error:
            self._log_failure("kept", str(error))

    async def _fetch_audio_until(self, media_s: float) -> list[Download]:
        return await self._audio.fetch_until(media_s) if self._audio is not None else []

    async def _prepare_enhancer(self, decided: Decided) -> None:
        """Fetch the weights of the decided enhancer, and start to open it when they are here."""
        offer = self._enhancers.find_offer(decided.enhancer, decided.rendition)
        if offer is not None and await self._weights.fetch(offer):
            self._enhancers.start_opening(decided.enhancer, decided.rendition)

    def _log_chunk(self, chunk: Chunk, reply: HttpReply) -> None:
        self._log_download("weights", reply.timing, name=chunk.file[-128:])

    def _log_download(self, kind: str, timing: Download, *, segment: int = 0, name: str) -> None:
        self._log.append(to_downloaded_event(kind, timing, segment=segment, name=name))

    def _log_failure(self, what: str, detail: str) -> None:
        self._log.append(Failed(t_s=self._clock.now_s(), what=what, detail=detail[:1024]))

    @property
    def audio_offset_max_s(self) -> float:
        """Seconds: the largest difference between the audio received and the media timeline."""
        return self._audio.offset_max_s if self._audio else 0.0

    @property
    def frame_ms(self) -> Mapping[str, float]:
        """Milliseconds that a frame of each enhancer took, by `speed_key` of `slow_enhancers`."""
        return seen_frame_ms({key: cost.recent_s for key, cost in self._deadlines.costs.items()})

    @property
    def slow_frame_s(self) -> Mapping[str, float]:
        """Seconds a frame of enhancers that could not keep up, by `speed_key` of `slow_enhancers`."""
        return self._deadlines.slow_frame_s

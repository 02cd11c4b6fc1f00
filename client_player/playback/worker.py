"""Decodes segments and enhances or upscales each frame, first in first out, within the frame's deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from abr.core.enhancement import PLAIN
from abr.core.events import AnyEvent, Failed, Stepped
from abr.core.frame_plan import Action
from abr.errors import ToprungError
from abr.virtual_time import SessionClock
from client_player.decoder import GrowingDecoder, SegmentDecoder, black_frame
from client_player.playback.deadline import DeadlineKeeper, TierCandidate, TierStep
from client_player.playback.enhancer_pool import EnhancerPool
from client_player.playback.presenter import FrameJob, FrameQueue, ReadyFrame
from client_player.playback.timeline import Timeline
from client_player.worker_thread import WorkerThread
from enhancers.runtime.enhancer import Enhancer
from enhancers.runtime.followed_plan import FollowedPlan
from enhancers.runtime.frames import Frame

_OPEN_WAIT_MAX_S = 1.5
"""How long start-up waits for an enhancer to open; later, the head start of finished frames is the limit."""
_OPEN_RESERVE_S = 0.5
DECODE_MAX_S = 5.0
"""A frame that takes longer to decode is given up, and the rest of its segment with it."""

BLANK_MAX = 3
"""Segments in a row without a picture before the session is given up."""


class _Made(NamedTuple):
    """How a frame came about: by which enhancer, in how many seconds, and whether by less than was planned for it.

    energy_j: joules, as the device profile tells them.
    """

    enhancer: str
    cost_s: float
    lowered: bool = False
    energy_j: float = 0.0


class EnhancementWorker:
    """Turns jobs into frames at display size. Logs each change of enhancer and each failure."""

    def __init__(
        self,
        *,
        queue: FrameQueue,
        deadlines: DeadlineKeeper,
        enhancers: EnhancerPool,
        timeline: Timeline,
        clock: SessionClock,
        display_px: tuple[int, int],
        log_event: Callable[[AnyEvent], None],
    ) -> None:
        self._queue, self._deadlines, self._enhancers = queue, deadlines, enhancers
        self._timeline, self._clock, self._log_event = timeline, clock, log_event
        self._last_frame: Frame = black_frame(*display_px)
        self._remaining_s: dict[tuple[int, int], float] = {}
        """Of each job that is not done, by its segment and its place in that."""
        self._growing = GrowingDecoder()
        """Of the segment that comes in parts."""
        self._unpaused_s, self._unpaused_at_s = 0.0, 0.0
        self._compute = WorkerThread("enhance")
        self._blank, self._any_decoded = 0, False

    def accept(self, job: FrameJob) -> None:
        """Add a job to the backlog. `run` takes the job itself from the queue of jobs."""
        candidates = self._enhancers.list_candidates(job.rendition, job.enhancer)
        frame_s = self._deadlines.cost(candidates[0]).typical_s if candidates else 0.0
        self._remaining_s[_place(job)] = frame_s * job.frames
        self._unpaused_s, self._unpaused_at_s = self._unpaused_backlog_s() + frame_s * job.frames, self._clock.now_s()

    def backlog_s(self) -> float:
        """Compute seconds of enhancement accepted and not yet done, as controllers count them.

        Their model (abr.core.playback) enhances a segment as soon as it is downloaded. This worker pauses while enough
        finished frames wait to be shown. Work that it postpones in that way does not count.
        """
        left_s = sum(self._remaining_s.values())
        return min(left_s, self._unpaused_backlog_s()) if self._queue.half_full else left_s

    def _unpaused_backlog_s(self) -> float:
        """Compute seconds that would be left if the worker had never paused."""
        return max(0.0, self._unpaused_s - (self._clock.now_s() - self._unpaused_at_s))

    async def run(self, jobs: asyncio.Queue[FrameJob | None]) -> None:
        """Process jobs until the queue yields None.

        Raises ToprungError after BLANK_MAX segments in a row without a single decoded frame, or when no segment of the
        title had one.
        """
        decoded = 0
        with self._compute:
            while (job := await self._next_job(jobs)) is not None:
                decoded = (decoded if job.first_number else 0) + await self._process(job)
                self._remaining_s.pop(_place(job), None)
                if job.is_last:
                    self._count_blank(job, decoded)
        if self._blank and not self._any_decoded:
            raise ToprungError("Nothing was shown: no segment of the title could be decoded.")
        await self._queue.close()

    def _count_blank(self, job: FrameJob, decoded: int) -> None:
        self._blank = 0 if decoded else self._blank + 1
        self._any_decoded = self._any_decoded or decoded > 0
        if self._blank >= BLANK_MAX:
            raise ToprungError(f"Gave up after {self._blank} segments in a row without a picture, up to {job.segment}.")

    async def _next_job(self, jobs: asyncio.Queue[FrameJob | None]) -> FrameJob | None:
        if jobs.empty():
            await self._queue.set_starved(True)
            job = await jobs.get()
            await self._queue.set_starved(False)
            return job
        return jobs.get_nowait()

    async def _process(self, job: FrameJob) -> int:
        """Decode, enhance and queue the frames of a job; returns how many could be decoded."""
        decoder, failure = self._decoder_of(job), self._growing.failure if job.is_part else ""
        frame_s = self._deadlines.frame_s
        share_s = self._remaining_s.get(_place(job), 0.0) / max(1, job.frames)
        choice = self._pick_enhancer(job)
        decoded_frames = 0
        for _ in range(job.hidden):
            decoded_frames += await self._decode(decoder) is not None
        for number in range(job.frames):
            media_s = job.start_s + number * frame_s
            began_s = self._clock.now_s()
            decoded = await self._decode(decoder)
            self._deadlines.decode.add(self._clock.now_s() - began_s)
            due_s = self._timeline.due_s(media_s)
            made = _Made(PLAIN, 0.0)
            if decoded is not None:
                decoded_frames += 1
                made = await self._produce_frame(job, number, decoded, choice, due_s)
                choice = self._review_choice(job, choice, due_s)
            await self._queue.put(
                ReadyFrame(
                    job=job,
                    number=number,
                    media_s=media_s,
                    frame=self._last_frame,
                    enhancer=made.enhancer,
                    cost_s=made.cost_s,
                    lowered=made.lowered,
                    energy_j=made.energy_j,
                    ready_s=self._clock.now_s(),
                    missing=decoded is None,
                )
            )
            self._remaining_s[_place(job)] = share_s * (job.frames - number - 1)
        if decoder.failure != failure:
            detail = f"segment {job.segment}: {decoder.failure}; the last frame before it stays on the screen"
            self._log_event(Failed(t_s=self._clock.now_s(), what="segment", detail=detail[:1024]))
        return decoded_frames

    def _decoder_of(self, job: FrameJob) -> SegmentDecoder | GrowingDecoder:
        if not job.is_part:
            return SegmentDecoder(job.data, key=job.key)
        if job.first_number == 0:
            self._growing = GrowingDecoder()
        self._growing.feed(job.data)
        return self._growing

    async def _decode(self, decoder: SegmentDecoder | GrowingDecoder) -> Frame | None:
        try:
            return await self._compute.run_within(DECODE_MAX_S, decoder.next_frame)
        except TimeoutError:
            decoder.failure = f"decoding a frame took more than {DECODE_MAX_S:g} s"
            return None

    async def _produce_frame(
        self, job: FrameJob, number: int, decoded: Frame, choice: TierCandidate | None, due_s: float | None
    ) -> _Made:
        """Enhance or upscale frame `number` of the job into `_last_frame`."""
        enhancer = await self._get_enhancer(job, choice, due_s)
        if choice is not None and isinstance(enhancer, FollowedPlan):
            made = await self._follow_plan(job, number, enhancer, decoded, choice, due_s)
            if made is not None:
                return made
        elif choice is not None and enhancer is not None and self._deadlines.allows(self._clock.now_s(), due_s, choice):
            enhanced_s = await self._enhance(job, enhancer, decoded, choice)
            if enhanced_s is not None:
                return _Made(choice.name, enhanced_s, energy_j=choice.frame_j)
        return _Made(PLAIN, await self._upscale(job, decoded))

    async def _follow_plan(
        self,
        job: FrameJob,
        number: int,
        plan: FollowedPlan,
        decoded: Frame,
        choice: TierCandidate,
        due_s: float | None,
    ) -> _Made | None:
        """What the plan says of a frame, or the costliest of what is less that there is time for.

        A frame that the plan leaves plain counts as shown by the plan, one that it would have lifted does not. None
        when it broke; then it is not used again in this session.
        """
        planned = plan.planned_action(job.segment, job.first_number + job.hidden + number)
        action = self._deadlines.lower_action(self._clock.now_s(), due_s, choice, planned)
        began_s = self._clock.now_s()
        try:
            self._last_frame, done = await self._compute.run(plan.perform, decoded, action)
        except Exception as error:  # noqa: BLE001 (as in _enhance)
            self._give_up(job, choice, error)
            return None
        cost_s = self._clock.now_s() - began_s
        self._deadlines.cost(choice).add(cost_s)
        self._deadlines.cost(choice.actions[done]).add(cost_s)
        name, energy_j = PLAIN if done == Action.NOTHING < planned else choice.name, choice.actions[done].frame_j
        return _Made(name, cost_s, lowered=done < planned, energy_j=energy_j)

    async def _enhance(self, job: FrameJob, enhancer: Enhancer, decoded: Frame, choice: TierCandidate) -> float | None:
        """Seconds it took. None when the enhancer raised an error; then it is not used again in this session."""
        began_s = self._clock.now_s()
        try:
            self._last_frame = await self._compute.run(enhancer.enhance, decoded)
        except Exception as error:  # noqa: BLE001 (a network or its runtime may raise anything; playback continues)
            self._give_up(job, choice, error)
            return None
        cost_s = self._clock.now_s() - began_s
        self._deadlines.cost(choice).add(cost_s)
        return cost_s

    def _give_up(self, job: FrameJob, choice: TierCandidate, error: Exception) -> None:
        self._enhancers.disable(choice.name, job.rendition)
        self._log_failure("enhancer", f"{choice.name} on {job.rendition} broke: {type(error).__name__}: {error}")

    async def _upscale(self, job: FrameJob, decoded: Frame) -> float:
        """Seconds it took. When upscaling fails too, the previous frame is shown again."""
        began_s = self._clock.now_s()
        scaler = self._enhancers.plain_scaler(decoded.width_px, decoded.height_px)
        try:
            self._last_frame = await self._compute.run(scaler.enhance, decoded)
        except (ValueError, OSError) as error:
            self._log_failure("scaler", f"a frame of segment {job.segment} cannot be upscaled: {error}")
            return 0.0
        cost_s = self._clock.now_s() - began_s
        self._deadlines.plain.add(cost_s)
        return cost_s

    async def _get_enhancer(self, job: FrameJob, choice: TierCandidate | None, due_s: float | None) -> Enhancer | None:
        """The open enhancer, or None. Waits for one that is still opening as long as the frame's deadline allows."""
        if choice is None:
            return None
        timeout_s = _OPEN_WAIT_MAX_S if due_s is None else due_s - self._clock.now_s() - _OPEN_RESERVE_S
        return await self._enhancers.get_enhancer(choice.name, job.rendition, timeout_s)

    def _pick_enhancer(self, job: FrameJob, reason: str = "") -> TierCandidate | None:
        candidates: Sequence[TierCandidate] = self._enhancers.list_candidates(job.rendition, job.enhancer)
        choice, step = self._deadlines.pick(self._clock.now_s(), candidates)
        if step is not None:
            self._log_step(job, step, reason or step.reason)
        return choice

    def _review_choice(self, job: FrameJob, choice: TierCandidate | None, due_s: float | None) -> TierCandidate | None:
        """After a frame: keep the candidate, or step down when it cannot keep up."""
        now_s = self._clock.now_s()
        reason = self._deadlines.find_overload(now_s, due_s, choice) if choice is not None else None
        if choice is None or reason is None:
            return choice
        self._deadlines.bar(now_s, choice)
        return self._pick_enhancer(job, reason)

    def _log_step(self, job: FrameJob, step: TierStep, reason: str) -> None:
        self._log_event(
            Stepped(
                t_s=self._clock.now_s(),
                segment=job.segment,
                from_enhancer=step.before,
                to_enhancer=step.after,
                reason=reason,
            )
        )

    def _log_failure(self, what: str, detail: str) -> None:
        self._log_event(Failed(t_s=self._clock.now_s(), what=what, detail=detail[:1024]))


def _place(job: FrameJob) -> tuple[int, int]:
    return job.segment, job.first_number

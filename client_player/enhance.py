"""The worker: decode, then enhance or upscale, frame by frame, first in first out, each frame with its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from abr.clock import SessionClock
from abr.enhancement import PLAIN
from abr.events import AnyEvent, Failed, Stepped
from client_player.compute import Compute
from client_player.deadline import Candidate, Keeper, Step
from client_player.decode import SegmentDecoder, black
from client_player.playout import Playout
from client_player.screen import FrameQueue, Job, Ready
from client_player.toolbox import Toolbox
from enhancers.base import Enhancer
from enhancers.frames import Frame

_OPEN_PATIENCE_S = 1.5
"""How long start-up waits for an enhancer to open; later, the head start of finished frames is the limit."""
_OPEN_RESERVE_S = 0.5
DECODE_MAX_S = 5.0
"""A frame that takes longer to decode is given up, and the rest of its segment with it."""


class Worker:
    """Turns jobs into finished frames at display size, and says what it stepped down to and what it survived."""

    def __init__(
        self,
        *,
        queue: FrameQueue,
        keeper: Keeper,
        toolbox: Toolbox,
        playout: Playout,
        clock: SessionClock,
        display_px: tuple[int, int],
        tell: Callable[[AnyEvent], None],
    ) -> None:
        self._queue, self._keeper, self._toolbox = queue, keeper, toolbox
        self._playout, self._clock, self._tell = playout, clock, tell
        self._held: Frame = black(*display_px)
        self._waiting: dict[int, float] = {}
        self._paced_s, self._paced_at_s = 0.0, 0.0
        self._compute = Compute("enhance")

    def accept(self, job: Job) -> None:
        """Count a job towards the backlog; `run` gets it from the queue of jobs."""
        candidates = self._toolbox.candidates(job.rendition, job.enhancer)
        frame_s = self._keeper.cost(candidates[0]).typical_s if candidates else 0.0
        self._waiting[job.segment] = frame_s * job.frames
        self._paced_s, self._paced_at_s = self._paced() + frame_s * job.frames, self._clock.now_s()

    def backlog_s(self) -> float:
        """Compute seconds of enhancement accepted and not yet done, as controllers count them.

        Their model (abr.playback) enhances as soon as a segment is there. This worker rests while enough finished
        frames wait for the screen; what it leaves for later by choice is no backlog.
        """
        left_s = sum(self._waiting.values())
        return min(left_s, self._paced()) if self._queue.well_filled else left_s

    def _paced(self) -> float:
        """What would be left had the worker never rested."""
        return max(0.0, self._paced_s - (self._clock.now_s() - self._paced_at_s))

    async def run(self, jobs: asyncio.Queue[Job | None]) -> None:
        """Until a None comes."""
        with self._compute:
            while (job := await self._next(jobs)) is not None:
                await self._segment(job)
                self._waiting.pop(job.segment, None)
        await self._queue.close()

    async def _next(self, jobs: asyncio.Queue[Job | None]) -> Job | None:
        if jobs.empty():
            await self._queue.set_starved(True)
            job = await jobs.get()
            await self._queue.set_starved(False)
            return job
        return jobs.get_nowait()

    async def _segment(self, job: Job) -> None:
        decoder = SegmentDecoder(job.data)
        frame_s = self._keeper.frame_s
        share_s = self._waiting.get(job.segment, 0.0) / job.frames
        choice = self._pick(job)
        for number in range(job.frames):
            media_s = job.start_s + number * frame_s
            began_s = self._clock.now_s()
            decoded = await self._decoded(decoder)
            self._keeper.decode.seen(self._clock.now_s() - began_s)
            due_s = self._playout.due_s(media_s)
            used, cost_s = PLAIN, 0.0
            if decoded is not None:
                choice, used, cost_s = await self._finish(job, decoded, choice, due_s)
            await self._queue.put(
                Ready(
                    job=job,
                    number=number,
                    media_s=media_s,
                    frame=self._held,
                    enhancer=used,
                    cost_s=cost_s,
                    ready_s=self._clock.now_s(),
                    missing=decoded is None,
                )
            )
            self._waiting[job.segment] = share_s * (job.frames - number - 1)
        if decoder.trouble:
            detail = f"segment {job.segment}: {decoder.trouble}; the last frame before it stays on the screen"
            self._tell(Failed(t_s=self._clock.now_s(), what="segment", detail=detail[:1024]))

    async def _decoded(self, decoder: SegmentDecoder) -> Frame | None:
        try:
            return await self._compute.run_within(DECODE_MAX_S, decoder.next)
        except TimeoutError:
            decoder.trouble = f"decoding a frame took more than {DECODE_MAX_S:g} s"
            return None

    async def _finish(
        self, job: Job, decoded: Frame, choice: Candidate | None, due_s: float | None
    ) -> tuple[Candidate | None, str, float]:
        """Bring one frame to display size into `_held`. Returns the candidate to go on with, the one used, its cost."""
        tool = await self._tool(job, choice, due_s)
        if choice is not None and tool is not None and self._keeper.allows(self._clock.now_s(), due_s, choice):
            enhanced_s = await self._enhance(job, tool, decoded, choice)
            if enhanced_s is not None:
                return self._review(job, choice, due_s), choice.name, enhanced_s
        plain_s = await self._plain(job, decoded)
        return self._review(job, choice, due_s), PLAIN, plain_s

    async def _enhance(self, job: Job, tool: Enhancer, decoded: Frame, choice: Candidate) -> float | None:
        """Seconds it took, or None when it broke; then it is not used again."""
        began_s = self._clock.now_s()
        try:
            self._held = await self._compute.run(tool.enhance, decoded)
        except Exception as error:  # noqa: BLE001 (whatever a network or its runtime raises, the show goes on)
            self._toolbox.give_up(choice.name, job.rendition)
            self._failed("enhancer", f"{choice.name} on {job.rendition} broke: {type(error).__name__}: {error}")
            return None
        cost_s = self._clock.now_s() - began_s
        self._keeper.cost(choice).seen(cost_s)
        return cost_s

    async def _plain(self, job: Job, decoded: Frame) -> float:
        """Seconds it took. If even this fails, the frame before stays."""
        began_s = self._clock.now_s()
        scaler = self._toolbox.plain(decoded.width_px, decoded.height_px)
        try:
            self._held = await self._compute.run(scaler.enhance, decoded)
        except (ValueError, OSError) as error:
            self._failed("scaler", f"a frame of segment {job.segment} cannot be upscaled: {error}")
            return 0.0
        cost_s = self._clock.now_s() - began_s
        self._keeper.plain.seen(cost_s)
        return cost_s

    async def _tool(self, job: Job, choice: Candidate | None, due_s: float | None) -> Enhancer | None:
        """The opened enhancer. Waits for one that is still opening while there is time to lose."""
        if choice is None:
            return None
        patience_s = _OPEN_PATIENCE_S if due_s is None else due_s - self._clock.now_s() - _OPEN_RESERVE_S
        return await self._toolbox.opened(choice.name, job.rendition, patience_s)

    def _pick(self, job: Job, reason: str = "") -> Candidate | None:
        candidates: Sequence[Candidate] = self._toolbox.candidates(job.rendition, job.enhancer)
        choice, step = self._keeper.pick(self._clock.now_s(), candidates)
        if step is not None:
            self._stepped(job, step, reason or step.reason)
        return choice

    def _review(self, job: Job, choice: Candidate | None, due_s: float | None) -> Candidate | None:
        """After a frame: go on with the same candidate, or step down when it cannot keep up."""
        now_s = self._clock.now_s()
        reason = self._keeper.struggle(now_s, due_s, choice) if choice is not None else None
        if choice is None or reason is None:
            return choice
        self._keeper.bar(now_s, choice)
        return self._pick(job, reason)

    def _stepped(self, job: Job, step: Step, reason: str) -> None:
        self._tell(
            Stepped(
                t_s=self._clock.now_s(),
                segment=job.segment,
                from_enhancer=step.before,
                to_enhancer=step.after,
                reason=reason,
            )
        )

    def _failed(self, what: str, detail: str) -> None:
        self._tell(Failed(t_s=self._clock.now_s(), what=what, detail=detail[:1024]))

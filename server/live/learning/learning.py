"""Training while a stream runs, by a process beside it (`enhancers.workflows.live_training`).

What it is given to learn from, and what becomes of the networks that it makes. No answer of it harms the stream.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from abr.core.live.learning import LearnAnswer, LearnRequest, LearntNetwork, LearntSet, LiveLearning
from abr.records import dumps, loads
from server.live.learning.published_weights import PublishedWeights
from server.live.samples.files import SampledStream
from server.live.samples.process import SampledProcess

COMMAND = (sys.executable, "-m", "enhancers.workflows.live_training")
WAITING_MAX = 5
"""Samples that wait while the process trains."""
STEADY_POINTS = 0.5
SPREAD = (1 / 8, 7 / 8)
"""Where in a segment pictures are taken to learn from, beside the middle one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What the tables tell of the training, and the networks that they offer by it."""

    learning: LiveLearning
    networks: tuple[LearntNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Of the stream: bytes of its lowest rung, its seconds, and the number of its next segment."""

    rung_bytes: int
    stream_s: float
    next_segment: int


class Learning(SampledProcess):
    """Trains for a live title, with `share` of one core. prior: the folder of weights to go on from, if any."""

    def __init__(
        self,
        stream: SampledStream,
        share: float,
        exchange: LearningExchange,
        *,
        prior: Path | None = None,
        command: Sequence[str] = COMMAND,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        made = exchange.made
        made.mkdir(parents=True, exist_ok=True)
        line = [*command, "--share", f"{share:g}", "--out", str(made)]
        line += ["--prior", str(prior)] if prior else []
        super().__init__(stream, line, exchange, waiting_max=WAITING_MAX, spread=SPREAD, ticks=ticks)


class LearningExchange:
    """What is asked of that process, and what becomes of its answers.

    made: the folder where it puts chunks. progress: of the stream now. learnt: hears what is to be offered from the
    next tables on. keep: hears of what is published now, when that is another set than before. told: one sentence for
    people. clock: as time.time.
    """

    def __init__(
        self,
        published: PublishedWeights,
        made: Path,
        *,
        progress: Callable[[], Progress],
        learnt: Callable[[Learnt], None],
        told: Callable[[str], None],
        keep: Callable[[Sequence[LearntNetwork]], None] = lambda _networks: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.made = made
        self._keep = keep
        self._published, self._progress = published, progress
        self._learnt, self._tell, self._clock = learnt, told, clock
        self._now = Learnt(learning=LiveLearning())
        self._from_segment: dict[str, int] = {}
        """By sha256 of weights: the first segment whose tables could name them."""

    def ask(self, folders: Sequence[Path], segments: Sequence[int]) -> bytes:
        """See SampleExchange."""
        request = LearnRequest(
            folders=tuple(map(str, folders)), segments=tuple(segments), allowance_bytes=self._allowance_bytes()
        )
        return dumps(request)

    def _allowance_bytes(self) -> int:
        progress = self._progress()
        return self._published.allowance_bytes(progress.rung_bytes, progress.stream_s)

    def hear(self, line: bytes) -> bool:
        """See SampleExchange."""
        answer = loads(line, LearnAnswer, what="what was learnt")
        for network in answer.networks:
            network.check()
        chunks = [chunk for network in answer.networks for chunk in network.offer.chunks]
        is_new = self._published.put(chunks, self.made, self._allowance_bytes())
        before, networks = self._now.learning, tuple(map(self._keep_steady, answer.networks))
        learning = LiveLearning(
            state=answer.state,
            publications=before.publications + is_new,
            published_bytes=self._published.published_bytes,
            published_s=round(self._clock(), 3) if is_new else before.published_s,
            sets=tuple(map(self._set_of, networks)),
        )
        is_other = {each.weights_sha256 for each in before.sets} != {each.weights_sha256 for each in learning.sets}
        self._now = Learnt(learning=learning, networks=networks)
        self._learnt(self._now)
        if networks and is_other:
            self._keep(networks)
        self._published.name_only(frozenset(chunk.file for chunk in chunks), self._clock())
        if is_new:
            self._tell(_describe(learning))
        return answer.is_ready

    def _keep_steady(self, network: LearntNetwork) -> LearntNetwork:
        """As it was told before, while its price has hardly moved: plans are made anew with each price."""
        for before in self._now.networks:
            same = (before.offer.weights_sha256, before.offer.strength) == (
                network.offer.weights_sha256,
                network.offer.strength,
            )
            if same and abs(_gain_points(before) - _gain_points(network)) < STEADY_POINTS:
                return before
        return network

    def _set_of(self, network: LearntNetwork) -> LearntSet:
        digest = network.offer.weights_sha256
        return LearntSet(
            rendition=network.offer.rendition,
            tier=network.tier,
            weights_sha256=digest,
            from_segment=self._from_segment.setdefault(digest, self._progress().next_segment),
            gain=network.gain,
        )

    def end(self, problem: str) -> None:
        """See SampleExchange."""
        stopped = msgspec.structs.replace(self._now.learning, state="stopped")
        self._now = Learnt(learning=stopped, networks=self._now.networks)
        self._learnt(self._now)
        why = f"nothing is learnt: {problem}" if problem else "what learns it has ended; what is published stays"
        self._tell(f"{why}.")


def _gain_points(network: LearntNetwork) -> float:
    """Points of trusted quality above plain playback."""
    lifted = network.offer.quality
    return (lifted.trusted or lifted.vmaf)[0] - network.plain.vmaf[0]


def _describe(learning: LiveLearning) -> str:
    gains = ", ".join(f"{each.rendition} {each.gain.trusted:+.1f}" for each in learning.sets)
    size = learning.published_bytes / 1000
    return f"weights {learning.publications} are published, {size:.0f} kB so far: {gains} points above generic."

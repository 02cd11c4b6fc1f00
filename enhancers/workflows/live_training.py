"""Networks that learn a running stream (LiveNAS, SIGCOMM 2020); for `toprung live --train-share`.

    python -m enhancers.workflows.live_training --share 0.5 --out FOLDER [--prior FOLDER]

It takes requests (`abr.core.live.learning.LearnRequest`), one JSON line each on stdin. The newest sample is scored
first, with what is published and with what training has made of it since; then all are learnt from. Networks to be
published lie in FOLDER before an answer names them. It takes no more of a core than its share.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from abr.core.live.learning import LearnAnswer, LearnRequest, TrainerState
from abr.core.title import Rendition
from abr.errors import ToprungError
from abr.quality.vmaf import Box
from abr.records import dumps, loads
from enhancers.networks.catalog import architecture, network_scales
from enhancers.workflows.live_process import Pace, begin_beside
from enhancers.workflows.live_rung import TIER, RungLearner, write_chunks
from enhancers.workflows.live_sample import LiveSample, read_sample
from enhancers.workflows.stream_weights import KeptNetwork, read_stream_weights

RUNGS_MAX = 2
"""The lowest that can be lifted: they have most to gain."""
_SCORED_EACH = 4
"""A rung that is not being trained is scored on one sample in so many, to keep its price."""


class LiveTrainer:
    """Trains for one stream. out: where chunks go. rest: called after each piece of work.

    prior: what an earlier stream ended with, if there was one.
    """

    def __init__(self, out: Path, rest: Callable[[], None], prior: Sequence[KeptNetwork] = ()) -> None:
        self._out, self._rest, self._prior = out, rest, prior
        self._learners: list[RungLearner] = []
        self._box: Box | None = None
        self._turn = 0

    @property
    def _active(self) -> RungLearner | None:
        """The lowest rung that training still lifts."""
        return next((each for each in self._learners if not each.saturation.is_resting), None)

    @property
    def state(self) -> TrainerState:
        """For people."""
        if not self._learners:
            return "waiting"
        return "resting" if self._active is None else "training"

    def score(self, request: LearnRequest) -> LearnAnswer:
        """Before anything is learnt from the samples. Raises ToprungError."""
        newest = self._read(request.folders[-1])
        if not self._learners:
            self._begin(newest)
        if not newest.is_black:
            self._turn += 1
            for number, learner in enumerate(self._learners):
                if learner is self._active or self._turn % _SCORED_EACH == number:
                    learner.score(newest, request.allowance_bytes)
                    if learner.published is not None:
                        write_chunks(learner.published, learner.rendition.id, self._out)
        offered = [learner.offered(newest.title) for learner in self._learners]
        return LearnAnswer(state=self.state, is_ready=False, networks=tuple(each for each in offered if each))

    def learn(self, request: LearnRequest) -> None:
        """From all samples. Raises ToprungError."""
        samples = [
            (segment, self._read(folder)) for folder, segment in zip(request.folders, request.segments, strict=True)
        ]
        learner = self._active or (self._learners[0] if self._learners else None)
        if learner is not None:
            learner.learn(samples)

    def _read(self, folder: str) -> LiveSample:
        sample = read_sample(Path(folder), self._box)
        self._box = sample.box
        return sample

    def _begin(self, sample: LiveSample) -> None:
        scales = network_scales(sample.title)
        liftable = [each for each in sample.title.renditions if each.id in scales]
        self._learners = [
            RungLearner(sample.title, each, scales[each.id], self._rest, self._prior_of(each, scales[each.id]))
            for each in liftable[:RUNGS_MAX]
        ]
        self._rest()

    def _prior_of(self, rendition: Rendition, scale: float) -> tuple[bytes, ...]:
        """That of the same rung if there is one, or else of any that is as much smaller than the display."""
        wanted = str(architecture(scale, TIER))
        fitting = [each for each in self._prior if each.architecture == wanted]
        fitting.sort(key=lambda each: each.rendition != rendition.id)
        return fitting[0].chunks if fitting else ()


def main() -> int:
    """Until stdin ends."""
    parser = argparse.ArgumentParser(prog="live_training")
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prior", type=Path)
    arguments = parser.parse_args()
    begin_beside()
    prior = read_stream_weights(arguments.prior) if arguments.prior else ()
    trainer = LiveTrainer(arguments.out, Pace(arguments.share).rest, prior)
    offered = LearnAnswer(state="waiting", is_ready=False)
    for line in sys.stdin.buffer:
        problem = ""
        try:
            request = loads(line, LearnRequest, what="request")
            offered = trainer.score(request)
            _say(offered)
            trainer.learn(request)
        except ToprungError as error:
            problem = str(error)
        _say(LearnAnswer(state=trainer.state, is_ready=True, networks=offered.networks, problem=problem))
    return 0


def _say(answer: LearnAnswer) -> None:
    sys.stdout.buffer.write(dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())

"""The processes beside a running stream that look at samples of it: what measures its quality, and what learns it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from abr.core.live.learning import LearntNetwork
from abr.core.live.quality import LiveQuality
from abr.errors import ToprungError
from server.live.learning.kept_weights import check_prior, keep_weights
from server.live.learning.learning import Learning, LearningExchange, Learnt
from server.live.learning.published_weights import PublishedWeights
from server.live.plan import LivePlan
from server.live.publication import Publication
from server.live.quality.measuring import Measuring
from server.live.samples.files import SampledStream
from server.live.samples.process import SampledProcess

WEIGHTS_SHARE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class SideProcessOptions:
    """measure_share, train_share: of one core; 0 for no such process.

    weights_share: of the bytes of the lowest rung, for networks that learn the stream. keep_s: how long those are still
    there that are not offered any more. prior: the folder of the weights that they go on from, and are kept in.
    """

    measure_share: float = 0.0
    train_share: float = 0.0
    weights_share: float = WEIGHTS_SHARE
    keep_s: float = 120.0
    prior: Path | None = None


def side_processes(
    options: SideProcessOptions,
    plan: LivePlan,
    folder: Path,
    work: Path,
    publication: Publication,
    told: Callable[[str], None],
) -> Iterator[SampledProcess]:
    """Those that are wanted. What they find goes into the tables of the segments to come. work: for their files."""

    def samples(where: str) -> SampledStream:
        return SampledStream(
            folder=folder,
            work=work / where,
            rungs=[rung.id for rung in plan.rungs],
            segment_frames=plan.segment_frames,
            segment_s=plan.segment_s,
        )

    def measured(quality: LiveQuality) -> None:
        publication.quality = quality

    def learnt(found: Learnt) -> None:
        publication.learnt = found

    if options.measure_share:
        yield Measuring(samples("quality"), options.measure_share, measured=measured, told=told)
    if options.train_share:
        stream = samples("learning")
        published = PublishedWeights(folder=folder, share=options.weights_share, keep_s=options.keep_s)
        exchange = LearningExchange(
            published,
            stream.work / "made",
            progress=publication.progress,
            learnt=learnt,
            keep=lambda networks: _keep_prior(options.prior, plan.name, networks, folder, told),
            told=told,
        )
        yield Learning(stream, options.train_share, exchange, prior=_checked(options.prior, told))


def _checked(prior: Path | None, told: Callable[[str], None]) -> Path | None:
    """The folder to go on from; None when there is nothing in it yet, or it cannot be read."""
    if prior is None:
        return None
    try:
        stream = check_prior(prior)
    except ToprungError as error:
        told(f"its prior cannot be read, so it learns from the generic weights on: {error}")
        return None
    told(f"it goes on from what {stream} has learnt." if stream else "its prior is new: it begins with this stream.")
    return prior if stream else None


def _keep_prior(
    prior: Path | None, stream: str, networks: Sequence[LearntNetwork], folder: Path, told: Callable[[str], None]
) -> None:
    if prior is None:
        return
    try:
        keep_weights(prior, stream, networks, folder)
    except ToprungError as error:
        told(f"what it has learnt is not kept: {error}")

"""A running stream's own networks: what `tables.json` tells of them.

Also what the process that trains them is asked and answers, a JSON line each.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from abr.core.enhancement import Offer, Tier
from abr.core.title import Count, Identifier, Quality
from abr.errors import FormatError
from abr.records import Record

STREAM_WEIGHTS_FILE = "stream-weights.json"

TrainerState = Literal["waiting", "training", "resting", "stopped"]
"""waiting: for the first samples. resting: more training gains nothing now. stopped: it has ended, or never began."""


class Gain(Record, frozen=True):
    """Points above the better of plain playback and the generic network, on samples that it had not learnt from."""

    trusted: float
    vmaf_neg: float


class LearntSet(Record, frozen=True):
    """A published network. from_segment: the first segment whose tables could name it."""

    rendition: Identifier
    tier: Tier
    weights_sha256: str
    from_segment: Count
    gain: Gain


class LiveLearning(Record, frozen=True, omit_defaults=True):
    """How the training of a running stream goes.

    publications, published_bytes: of the stream so far. published_s: seconds since 1970 when the newest was there;
    0 before. sets: those that are offered now.
    """

    state: TrainerState = "waiting"
    publications: Count = 0
    published_bytes: Count = 0
    published_s: float = 0.0
    sets: tuple[LearntSet, ...] = ()

    @property
    def gain_points(self) -> float:
        """Of the rung that gained most, in trusted quality; 0 when nothing is published."""
        return max((each.gain.trusted for each in self.sets), default=0.0)


class LearnRequest(Record, frozen=True):
    """Samples to learn from, oldest first: the newest is scored before anything is learnt from any of them.

    folders: as of `abr.core.live.quality.Sample`. segments: their numbers. allowance_bytes: what may be published.
    """

    folders: tuple[str, ...]
    segments: tuple[Count, ...]
    allowance_bytes: Count


class LearntNetwork(Record, frozen=True):
    """A network to be offered. offer: its chunks lie in the process's own folder, by the last part of their names.

    offer.quality, plain: one entry each, means over the same samples.
    """

    tier: Tier
    offer: Offer
    plain: Quality
    gain: Gain

    def check(self) -> None:
        """Raises FormatError for qualities of other than one segment."""
        for quality in (self.offer.quality, self.plain):
            figures = quality.vmaf, quality.vmaf_neg, quality.ssim, quality.psnr_y_db
            if any(len(each) != 1 for each in figures) or len(quality.trusted) > 1:
                raise FormatError(f"A network for {self.offer.rendition} does not tell the quality of one segment.")


class LearnAnswer(Record, frozen=True):
    """networks: all that are to be offered from now on. is_ready: for the next request; more comes before that."""

    state: TrainerState
    is_ready: bool
    networks: Annotated[tuple[LearntNetwork, ...], Meta(max_length=16)] = ()
    problem: str = ""


class StreamWeights(Record, frozen=True):
    """What a stream has learnt, in a folder of its own (STREAM_WEIGHTS_FILE).

    offers: their chunks lie beside it, by the last part of their names.
    """

    stream: Identifier
    offers: Annotated[tuple[Offer, ...], Meta(max_length=16)]

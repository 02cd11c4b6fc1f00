"""One rung of a running stream, whose network learns it: scored on each sample first, then learnt from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np

from abr.core.enhancement import Family, Tier
from abr.core.live.learning import Gain, LearntNetwork
from abr.core.title import Quality, Rendition, Title
from abr.errors import MediaError
from abr.files import write_file
from enhancers.measurement.offers import OfferCandidate, select_worthwhile
from enhancers.measurement.publish import chunk_of
from enhancers.networks import catalog
from enhancers.networks.checkpoint import weights_digest
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, frame_of
from enhancers.training.online import OnlineTrainer
from enhancers.training.patches import TrainingPairs
from enhancers.workflows.live_publishing import (
    PROBATION,
    Lead,
    SaturationDetector,
    is_to_be_taken_back,
    is_tried,
    is_worth_its_bytes,
    lead_of,
    leads,
)
from enhancers.workflows.live_sample import LiveSample, Row, mean_quality, title_of_rows, trusted_rows

TIER = Tier.LOW
"""What is trained: it gets nearly all of what the deeper tiers get of a stream, for a quarter of the bytes and of the
training (docs/BENCHMARKS.md)."""
STRENGTHS = (0.75, 0.5)
"""The first that no meter refuses."""
JUDGED_MIN = 3
"""A meter may refuse a network once it was scored on so many samples: on one, noise alone would refuse half of all."""
ROWS_KEPT = 8
STEPS_FIRST, STEPS = 40, 160
"""Of training between two samples that are scored: before anything is published or when the scene has changed, and
otherwise. As much work as scoring takes is about 80."""
HURRIED_ROUNDS = 3
"""Of few steps, when the scene has changed."""
_GENERIC, _GENERIC_EACH = "generic", 2
"""Its key in rows, and on which samples it is scored once something is published: one in so many."""

DecodedRungs: TypeAlias = Mapping[str, Mapping[int, Sequence[Frame]]]
"""By rung: what `LiveSample.frames_of` gives."""


@dataclass(eq=False, slots=True, kw_only=True)
class Network:
    """Weights as players get them. rows: of the samples that it was scored on since."""

    chunks: tuple[bytes, ...]
    strength: float
    rows: deque[Row] = field(default_factory=lambda: deque(maxlen=ROWS_KEPT))

    @property
    def key(self) -> str:
        """In rows."""
        return f"{weights_digest(self.chunks)}*{self.strength:g}"

    @property
    def size_bytes(self) -> int:
        """To download."""
        return sum(map(len, self.chunks))


class RungLearner:
    """rest: called after each piece of work. published: what is offered, if anything is.

    prior: the chunks of what an earlier stream ended with. It is the first candidate, and what training goes on from.
    """

    def __init__(
        self,
        title: Title,
        rendition: Rendition,
        scale: float,
        rest: Callable[[], None],
        prior: tuple[bytes, ...] = (),
    ) -> None:
        place = title.renditions.index(rendition)
        self._renditions = title.renditions[place : place + 2]
        """The rung and the one above it, which tells how much a lift can be."""
        self._scale, self._rest = scale, rest
        self._trainer = OnlineTrainer(scale, (TIER,), start=prior)
        generic = catalog.generic_chunks(catalog.architecture(scale, Tier.HIGH))
        self._generic = self._candidate_of(Family.GENERIC, Tier.HIGH, generic, STRENGTHS[0])
        self.saturation = SaturationDetector()
        self.published: Network | None = None
        self._former: Network | None = None
        self._on_probation = self._scored = self._hurried = 0
        self._candidate = Network(chunks=prior, strength=STRENGTHS[0]) if prior else None

    @property
    def rendition(self) -> Rendition:
        """What is lifted."""
        return self._renditions[0]

    def score(self, sample: LiveSample, allowance_bytes: int) -> None:
        """Score all that is in question on a sample, before it is learnt from; publish or take back by that."""
        candidate, published = self._candidate, self.published
        former = self._former if self._on_probation else None
        if candidate is None and published is None:
            return
        title = msgspec.structs.replace(sample.title, renditions=self._renditions)
        frames = {each.id: sample.frames_of(each) for each in self._renditions}
        row = Row(plain={}, lifted={})
        for each in self._renditions:
            row.plain[each.id] = sample.score_plain(each, frames[each.id])
            self._rest()
        if published is None or self._scored % _GENERIC_EACH == 0:
            self._score(_GENERIC, self._generic, row, frames, sample)
        self._scored += 1
        for network in (published, former):
            if network is not None:
                self._score(network.key, self._content(network), row, frames, sample)
                network.rows.append(row)
        if candidate is not None:
            self._score(candidate.key, self._content(candidate), row, frames, sample)
            candidate.rows.append(row)
        self.take_back_if_worse(title)
        self._weaken(row, frames, sample, title)
        self._publish(title, allowance_bytes)

    def _score(self, key: str, candidate: OfferCandidate, row: Row, frames: DecodedRungs, sample: LiveSample) -> None:
        enhance = candidate.open(sample.prepared).enhancer.enhance
        row.lifted[key] = sample.score(frames[self.rendition.id], enhance)
        self._rest()

    def _weaken(self, row: Row, frames: DecodedRungs, sample: LiveSample, title: Title) -> None:
        """What is published and refused is shown at a lesser strength, which costs no bytes."""
        published = self.published
        if published is None or published.strength == STRENGTHS[-1] or self._is_offered(published, title):
            return
        weaker = Network(chunks=published.chunks, strength=STRENGTHS[STRENGTHS.index(published.strength) + 1])
        self._score(weaker.key, self._content(weaker), row, frames, sample)
        weaker.rows.append(row)
        self.published = weaker

    def publish(self, network: Network) -> None:
        """From now on; what was published before is held against it for a while."""
        self._former, self.published, self._on_probation = self.published, network, PROBATION

    def take_back_if_worse(self, title: Title) -> None:
        """Publish the former network again when the newer one does worse on the samples since."""
        if self.published is None or not self._on_probation:
            return
        self._on_probation -= 1
        if is_to_be_taken_back(self._lead(self.published, self._former, title)):
            self.published, self._former, self._on_probation = self._former, None, 0

    def _publish(self, title: Title, allowance_bytes: int) -> None:
        candidate = self._candidate
        if candidate is None:
            return
        lead = self._lead(candidate, self.published, title)
        offered = self._is_offered(candidate, title)
        has_led = leads(lead) and offered
        if has_led and not is_tried(lead, is_first=self.published is None):
            return  # once more
        if has_led and is_worth_its_bytes(lead, candidate.size_bytes, allowance_bytes):
            self.publish(candidate)
        self.saturation.note_candidate(has_led)
        self._candidate = None

    def _lead(self, network: Network, other: Network | None, title: Title) -> Lead:
        """Over another one, or over the better of plain and generic, on the samples that both were scored on."""
        rows = [row for row in network.rows if (_GENERIC if other is None else other.key) in row.lifted]
        if not rows:
            return lead_of((), ())
        whole = title_of_rows(title, rows)
        behind = self._points(whole, other.key, rows) if other is not None else self._baseline(whole, rows)
        return lead_of(self._points(whole, network.key, rows), behind)

    def _points(self, whole: Title, key: str, rows: Sequence[Row]) -> list[tuple[float, float]]:
        quality = trusted_rows(whole, self.rendition.id, key, rows)
        return list(zip(quality.trusted or quality.vmaf, quality.vmaf_neg, strict=True))

    def _baseline(self, whole: Title, rows: Sequence[Row]) -> list[tuple[float, float]]:
        plain = whole.plain_quality[self.rendition.id]
        pairs = zip(plain.vmaf, plain.vmaf_neg, strict=True)
        return [max(both) for both in zip(pairs, self._points(whole, _GENERIC, rows), strict=True)]

    def _is_offered(self, network: Network, title: Title) -> bool:
        """Whether it passes the gate of any title on its samples."""
        return bool(self._gate(network, title)[1])

    def _gate(self, network: Network, title: Title) -> tuple[Quality, list[OfferCandidate]]:
        rows = list(network.rows)
        whole, candidate = title_of_rows(title, rows), self._content(network)
        quality = trusted_rows(whole, self.rendition.id, network.key, rows)
        if len(rows) < JUDGED_MIN:
            return quality, [candidate]
        return quality, select_worthwhile([candidate], {candidate.key: quality}, whole)

    def _content(self, network: Network) -> OfferCandidate:
        return self._candidate_of(Family.CONTENT, TIER, network.chunks, network.strength)

    def _candidate_of(self, family: Family, tier: Tier, chunks: tuple[bytes, ...], strength: float) -> OfferCandidate:
        architecture = str(catalog.architecture(self._scale, tier))
        return OfferCandidate(
            family=family,
            tier=tier,
            rendition=self.rendition,
            architecture=architecture,
            chunks=chunks,
            strength=strength,
        )

    def offered(self, title: Title) -> LearntNetwork | None:
        """What is published, priced by the samples that it was scored on; None when it passes no gate on these."""
        if self.published is None:
            return None
        title = msgspec.structs.replace(title, renditions=self._renditions)
        quality, kept = self._gate(self.published, title)
        if not kept:
            return None
        lead = self._lead(self.published, None, title)
        plain = title_of_rows(title, list(self.published.rows)).plain_quality[self.rendition.id]
        return LearntNetwork(
            tier=TIER,
            offer=kept[0].offer(mean_quality(quality)),
            plain=mean_quality(plain),
            gain=Gain(trusted=round(lead.trusted, 2), vmaf_neg=round(lead.vmaf_neg, 2)),
        )

    def learn(self, samples: Sequence[tuple[int, LiveSample]]) -> None:
        """Take in samples, each with the number of its segment, and train; then there is a candidate."""
        for segment, sample in samples:
            pairs = self._pairs(sample)
            try:
                if self.saturation.note_loss(self._trainer.loss(pairs, segment)):
                    self._begin_scene()
                self._trainer.add(pairs, segment)
            except MediaError:  # nothing brighter than black
                continue
            self._rest()
        if self.saturation.is_resting or not self._trainer.is_ready:
            return
        is_hurried = self.published is None or self._hurried > 0
        self._hurried -= self._hurried > 0
        self._trainer.learn(STEPS_FIRST if is_hurried else STEPS, self._rest)
        if self._candidate is None:
            self._candidate = Network(chunks=tuple(self._trainer.chunks()), strength=STRENGTHS[0])
        self._rest()

    def _begin_scene(self) -> None:
        """Prices of what was before say little of what comes; a candidate that knew only that is no use."""
        self._candidate, self._hurried = None, HURRIED_ROUNDS
        for network in (self.published, self._former):
            while network is not None and len(network.rows) > 1:
                network.rows.popleft()

    def _pairs(self, sample: LiveSample) -> TrainingPairs:
        rung, scale = self.rendition, self._scale
        width_px, height_px = int(rung.width_px * scale), int(rung.height_px * scale)
        grow = PlainScaler(rung.width_px, rung.height_px, width_px, height_px)
        fit = PlainScaler(*sample.prepared.display_px, width_px, height_px)
        decoded = sample.prepared.frames(rung, 0)
        numbers = [number for number in sample.pictures if number not in sample.beside]
        across, down = width_px / sample.prepared.display_px[0], height_px / sample.prepared.display_px[1]
        x, y, width, height = sample.box
        return TrainingPairs(
            low=np.stack([decoded[number].y for number in numbers]),
            plain=np.stack([grow.enhance(decoded[number]).y for number in numbers]),
            target=np.stack([fit.enhance(frame_of(*sample.pictures[number])).y for number in numbers]),
            box=(round(x * across), round(y * down), int(width * across), int(height * down)),
        )


def write_chunks(network: Network, rendition: str, folder: Path) -> None:
    """Into the process's own folder, by the last part of the names that offers have for them. Raises StorageError."""
    for number, data in enumerate(network.chunks, start=1):
        write_file(folder / Path(chunk_of(rendition, number, data).file).name, data)

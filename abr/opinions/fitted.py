"""A quality of experience that was learnt from raters, as a file: what a picture is worth to people, in points.

Points are 25 · (expected score − 1), so 0 is bad and 100 excellent. What is worth more by a feature that rises is never
worth less, and what stalls more is never worth more: weights have the sign of their feature's direction, and a file in
which one does not is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from abr.core.arrays import Floats
from abr.errors import FormatError, InputError
from abr.opinions.agreement_learning import TwoStreams
from abr.opinions.dataset import FEATURES_MAX, SCORE_MIN, OpinionSet
from abr.opinions.features import CATEGORY, DIRECTIONS, Design, Feature, design_of, values_of
from abr.opinions.methods import DEFAULT, METHODS, Heads, Rater
from abr.opinions.ordinal import Ordinal
from abr.opinions.raters import HEADS
from abr.records import Record, load

POINTS_A_SCORE = 25.0
Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Numbers = Annotated[tuple[Number, ...], Meta(max_length=256)]


class StoredFeature(Record, frozen=True):
    """See `abr.opinions.features.Feature`."""

    name: Annotated[str, Meta(max_length=64)]
    knots: Annotated[tuple[Number, ...], Meta(max_length=64)] = ()


class StoredHeads(Record, frozen=True):
    """See `abr.opinions.ordinal.Ordinal`."""

    weights: Numbers
    thresholds: Annotated[tuple[Number, ...], Meta(min_length=len(HEADS), max_length=len(HEADS))]

    def heads(self) -> Ordinal:
        """As arrays."""
        return Ordinal(weights=np.array(self.weights), thresholds=np.array(self.thresholds))


class FittedQoe(Record, frozen=True, omit_defaults=True):
    """What `toprung qoe fit` writes. agreement, strength: of agreement learning alone.

    cuts: where the expected score is cut for the decision; empty for the decision at even chances.
    """

    made_from: Annotated[str, Meta(max_length=1024)]
    method: Annotated[str, Meta(max_length=64)]
    items: int
    raters: int
    votes: int
    features: Annotated[tuple[StoredFeature, ...], Meta(min_length=1, max_length=FEATURES_MAX)]
    classifier: StoredHeads
    agreement: StoredHeads | None = None
    strength: Annotated[float, Meta(ge=0, le=100)] = 0.0
    cuts: Annotated[tuple[float, ...], Meta(max_length=len(HEADS))] = ()
    schema: int = 1

    @property
    def design(self) -> Design:
        """How features become columns."""
        return Design(features=tuple(Feature(name=each.name, knots=each.knots) for each in self.features))

    @property
    def rater(self) -> Rater:
        """The model."""
        heads: Heads = self.classifier.heads()
        if self.agreement is not None:
            heads = TwoStreams(
                classifier=self.classifier.heads(), agreement=self.agreement.heads(), strength=self.strength
            )
        return Rater(heads=heads, cuts=np.array(self.cuts) if self.cuts else None)

    def points(self, values: Mapping[str, Floats]) -> Floats:
        """(N,) 0 to 100, of items with these features, (N,) each. Raises InputError where one is missing."""
        return POINTS_A_SCORE * (self.rater.scores(self.design.columns(values)) - SCORE_MIN)

    def check(self, what: str) -> None:
        """Raises FormatError for a file that contradicts itself, or in which more of a feature is worth less."""
        for each in self.features:
            if each.name not in DIRECTIONS and not each.name.startswith(CATEGORY):
                raise FormatError(f"{what} weighs {each.name!r}, which is no feature. Known: {', '.join(DIRECTIONS)}.")
            if len(each.knots) == 1 or any(low >= high for low, high in zip(each.knots, each.knots[1:], strict=False)):
                raise FormatError(f"{what} has knots of {each.name!r} that do not rise.")
        directions = self.design.directions
        for heads in filter(None, (self.classifier, self.agreement)):
            if len(heads.weights) != len(directions):
                raise FormatError(f"{what} has {len(heads.weights)} weights where {len(directions)} belong.")
            if (np.array(heads.weights) * directions < 0).any():
                raise FormatError(f"{what} counts more of a feature as worse that is never worse, or the reverse.")
            if list(heads.thresholds) != sorted(heads.thresholds):
                raise FormatError(f"{what} has thresholds that do not rise.")


def fit_qoe(
    opinions: OpinionSet, *, method: str = DEFAULT, features: tuple[str, ...] = (), expert: bool = False
) -> FittedQoe:
    """Learn what people think of items from what is known of these.

    Contents differ in how good they look at the same rate. Each gets an offset of its own while weights are learnt, so
    that these say how items of one content differ, as the rungs of a title do; of a new one the offset is taken for 0.

    features: those to learn from; empty for all. expert: see `values_of`. Raises InputError where nothing can be.
    """
    values = values_of(opinions, expert=expert)
    for name in features:
        if name not in values:
            raise InputError(f"{name!r} is not known of all items of {opinions.name!r}; {', '.join(values)} are.")
    values = {name: column for name, column in values.items() if not features or name in features}
    design = design_of(values)
    offsets = (opinions.contents[:, None] == np.unique(opinions.contents)).astype(np.float64)
    directions = np.append(design.directions, np.zeros(offsets.shape[1]))
    rater = METHODS[method](np.hstack([design.columns(values), offsets]), opinions, directions)
    streams = rater.heads if isinstance(rater.heads, TwoStreams) else None
    classifier = streams.classifier if streams else rater.heads
    assert isinstance(classifier, Ordinal)
    weights = len(design.directions)
    return FittedQoe(
        made_from=opinions.name,
        method=method,
        items=len(opinions.files),
        raters=opinions.scores.shape[1],
        votes=int((~np.isnan(opinions.scores)).sum()),
        features=tuple(StoredFeature(name=each.name, knots=each.knots) for each in design.features),
        classifier=_stored(classifier, weights),
        agreement=_stored(streams.agreement, weights) if streams else None,
        strength=streams.strength if streams else 0.0,
        cuts=() if rater.cuts is None else tuple(rater.cuts.tolist()),
    )


def load_qoe(path: Path) -> FittedQoe:
    """Raises FormatError for what is no fitted QoE, StorageError where it cannot be read."""
    fitted = load(path, FittedQoe)
    fitted.check(str(path))
    return fitted


def _stored(heads: Ordinal, weights: int) -> StoredHeads:
    """Without the offsets of contents, which follow so many weights."""
    return StoredHeads(weights=tuple(heads.weights[:weights].tolist()), thresholds=tuple(heads.thresholds.tolist()))

"""A version of a network that players tune together: what they start from, and what the server made of it."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from abr.core.title import Count, Positive
from abr.records import Record, dumps
from abr.secure_aggregation.degree import MEMBERS_MAX, MEMBERS_MIN

VALUES_MAX = 1 << 20
"""Numbers of a network: 4 MiB of a player's bytes a round."""
WEIGHTS_BYTES_MAX = 8 << 20
_SECONDS_MAX = 86_400

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class LocalRecipe(Record, frozen=True):
    """How a player trains before each round. rate: the highest of its learning rate.

    frames_full: who learns from so many pictures, or more, counts fully. detail_weight: of the detail lost beside the
    L1 loss.
    """

    steps: Annotated[int, Meta(ge=1, le=10_000)]
    batch: Annotated[int, Meta(ge=1, le=64)]
    rate: Annotated[float, Meta(gt=0, le=0.1)]
    detail_weight: Annotated[float, Meta(ge=0, le=10)]
    frames_full: Annotated[int, Meta(ge=1, le=10_000)]


class ClipScore(Record, frozen=True):
    """What the server's meters say of one held-out clip, lifted."""

    clip: Annotated[str, Meta(max_length=200)]
    psnr_y_db: Annotated[float, Meta(ge=0, le=100)]
    vmaf_neg: Annotated[float, Meta(ge=0, le=100)]


class ModelVersion(Record, frozen=True):
    """A network that is the best so far. number: 0 is what the program ships.

    architecture: of its deepest exit. sha256, size_bytes: of its weights, one safetensors file in 32-bit floats.
    values: numbers that are tuned. norm_max: no update is longer. members_max: of a round. survivors: whose updates
    made it of the version before.
    """

    number: Count
    architecture: Annotated[str, Meta(max_length=64)]
    sha256: Digest
    size_bytes: Annotated[int, Meta(ge=1, le=WEIGHTS_BYTES_MAX)]
    values: Annotated[int, Meta(ge=1, le=VALUES_MAX)]
    norm_max: Annotated[float, Meta(gt=0, le=1000)]
    members_max: Annotated[int, Meta(ge=MEMBERS_MIN, le=MEMBERS_MAX)]
    recipe: LocalRecipe
    scores: Annotated[tuple[ClipScore, ...], Meta(max_length=64)] = ()
    survivors: Count = 0
    schema: Positive = 1

    @property
    def layout(self) -> str:
        """Names what the words of an update of this version mean: updates of two versions are never added."""
        return sha256(dumps(self)).hexdigest()[:16]

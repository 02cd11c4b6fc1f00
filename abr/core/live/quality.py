"""The quality of a running stream, and what the process that measures it is asked and answers: a JSON line each."""

from __future__ import annotations

from abr.core.enhancement import EnhancementTable
from abr.core.title import Meter, Quality
from abr.records import Record

PICTURES_FILE = "pictures.npz"
"""Of a sample's source: planes `y`, `u`, `v` of some of its pictures, uint8 (N, H, W), their `numbers` in the segment,
(N,) ascending, and the number of the one that is `judged`. The two before that and the one after it are among them."""


class LiveQuality(Record, frozen=True):
    """Of a usual segment. plain: by rendition id, played plainly; each has one entry, and so have the table's offers.

    measured: on this stream, or else assumed.
    """

    plain: dict[str, Quality]
    meter: Meter
    enhancements: EnhancementTable | None
    measured: bool


class Sample(Record, frozen=True):
    """What is asked about. folder: with the title of that one segment, its segment in all renditions, PICTURES_FILE."""

    folder: str


class Answer(Record, frozen=True):
    """quality: None where the sample says nothing, as a black one; problem: why it could not be measured, if so."""

    quality: LiveQuality | None = None
    problem: str = ""

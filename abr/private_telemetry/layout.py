"""What each word of the vector means. Server and players have to agree on all of it; its fingerprint tells whether."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from abr.core.enhancement import Tier
from abr.records import dumps
from abr.secure_aggregation.degree import MEMBERS_MAX

WORD_MAX = (1 << 32) // MEMBERS_MAX - 1
"""One member's share of a word goes no further, so that no sum of a full round comes around."""

PLAN = "plan"
"""Stands for all frame plans, as if they were a tier."""
TIERS = (*(tier.value for tier in Tier), PLAN)
CORES = ("2", "4", "8", "more")
"""Classes of devices: by the cores that their profile tells of, at most so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Some words of the vector: a histogram, or a plain total where there are no bounds.

    bounds: upper ends of the buckets but the last, which has none. step: what one of the sum stands for; the sum of
    values is the last word. labels: what sets it apart from others of its name.
    """

    name: str
    help_text: str
    step: float
    bounds: tuple[float, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> int:
        """Buckets, and the sum; a total is a sum alone."""
        return len(self.bounds) + 2 if self.bounds else 1


_STALL_S = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_STARTUP_S = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
_BYTES_PER_S = tuple(float(1 << power) for power in range(13, 24))
_QUALITY = (10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95, 100)
_SHARE = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)
_FRAMES = (0, 1, 2, 4, 8, 16, 32, 64)
_ENHANCE_S = (0.001, 0.002, 0.004, 0.008, 0.012, 0.016, 0.024, 0.032, 0.042, 0.064, 0.128, 0.256)


def _counted() -> Iterator[Counted]:
    yield Counted(name="sessions", help_text="Sessions that ended.", step=1)
    yield Counted(name="shown_seconds", help_text="Media time shown.", step=0.1)
    yield Counted(name="failures", help_text="Troubles that players survived.", step=1)
    yield Counted(
        name="stall_seconds", help_text="How long playback stood still, each time.", step=0.01, bounds=_STALL_S
    )
    yield Counted(name="startup_seconds", help_text="Time to the first frame.", step=0.01, bounds=_STARTUP_S)
    yield Counted(
        name="video_bytes_per_second",
        help_text="Bitrate of shown segments, in bytes.",
        step=1024,
        bounds=_BYTES_PER_S,
    )
    yield Counted(name="vmaf", help_text="VMAF of shown segments, as in viewer_vmaf.", step=0.1, bounds=_QUALITY)
    yield Counted(
        name="quality",
        help_text="Quality of shown segments in what decisions count, as in viewer_quality.",
        step=0.1,
        bounds=_QUALITY,
    )
    yield Counted(
        name="enhanced_ratio",
        help_text="Share of a shown segment's frames that were enhanced.",
        step=0.01,
        bounds=_SHARE,
    )
    yield Counted(
        name="late_frames", help_text="Frames of a shown segment that missed their instant.", step=1, bounds=_FRAMES
    )
    for tier in TIERS:
        for cores in CORES:
            yield Counted(
                name="enhance_seconds",
                help_text="Median time to enhance a frame, a segment, by tier and the device's cores (at most).",
                step=1e-4,
                bounds=_ENHANCE_S,
                labels={"tier": tier, "cores": cores},
            )


class Layout:
    """All that is counted, in order, and where each begins in the vector."""

    def __init__(self, counted: tuple[Counted, ...]) -> None:
        self.counted = counted
        self._start: dict[tuple[str, ...], int] = {}
        self.words = 0
        for each in counted:
            self._start[each.name, *each.labels.values()] = self.words
            self.words += each.words

    def find(self, name: str, *labels: str) -> tuple[int, Counted]:
        """Where the words of this name and these labels begin, and what they count. Raises KeyError."""
        start = self._start[name, *labels]
        return start, next(each for each in self.counted if (each.name, *each.labels.values()) == (name, *labels))

    def parts(self) -> Iterator[tuple[int, Counted]]:
        """Each with the word where it begins."""
        return zip(self._start.values(), self.counted, strict=True)

    @cached_property
    def fingerprint(self) -> str:
        """Of names, bounds, steps and labels: two players may be added when it is the same."""
        told = [(each.name, each.step, each.bounds, dict(each.labels)) for each in self.counted]
        return sha256(dumps(told)).hexdigest()[:16]


TELEMETRY = Layout(tuple(_counted()))
"""What players of this version hand in."""

"""What one viewer saw in one visit: the unit that is drawn into an arm, and the unit that is counted.

A visit is all sessions that its player opens under one name. A player opens several when its device has been measured,
or when the server has lost a session; counted apart, they would look like viewers who are independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from abr.core.events import AnyEvent, Shown, Stalled
from abr.core.qoe import STALL_PER_S
from server.monitoring.shown_quality import ShownQuality

FIGURES = ("qoe", "quality", "rebuffering", "switches_per_minute")
"""What is compared. Rebuffering is a part of the time, 0 to 1."""
BOUNDS = ((-100.0, 100.0), (0.0, 100.0), (0.0, 1.0), (0.0, 60.0))
"""A figure of a visit is kept within these. Worse than a second of stall in every segment counts as just that; and
what a player makes up weighs no more than one visit."""


class Visit(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What is known of a visit so far. Sums are over the segments shown; `last` is of the segment shown last."""

    segments: int = 0
    shown_s: float = 0.0
    stall_s: float = 0.0
    quality: float = 0.0
    change: float = 0.0
    switches: int = 0
    last_quality: float = 0.0
    last_rendition: str = ""

    def after(self, events: Iterable[AnyEvent], quality_of: Callable[[Shown], ShownQuality | None]) -> Visit:
        """The visit after these events. `quality_of` knows the title; what it does not know is passed over."""
        visit = self
        for event in events:
            if isinstance(event, Stalled):
                visit = msgspec.structs.replace(visit, stall_s=visit.stall_s + event.duration_s)
            elif isinstance(event, Shown) and (seen := quality_of(event)) is not None:
                visit = visit._after_segment(seen, event.rendition)
        return visit

    def _after_segment(self, seen: ShownQuality, rendition: str) -> Visit:
        is_next = self.segments > 0
        return msgspec.structs.replace(
            self,
            segments=self.segments + 1,
            shown_s=self.shown_s + seen.duration_s,
            quality=self.quality + seen.quality,
            change=self.change + (abs(seen.quality - self.last_quality) if is_next else 0.0),
            switches=self.switches + (is_next and rendition != self.last_rendition),
            last_quality=seen.quality,
            last_rendition=rendition,
        )

    def figures(self) -> tuple[float, ...] | None:
        """FIGURES of the visit so far, within BOUNDS; None before a segment was shown.

        QoE is that of `abr.core.qoe.experience`.
        """
        if not self.segments or self.shown_s <= 0:
            return None
        quality = self.quality / self.segments
        change = self.change / max(1, self.segments - 1)
        found = (
            quality - change - STALL_PER_S * self.stall_s / self.segments,
            quality,
            self.stall_s / (self.stall_s + self.shown_s),
            60 * self.switches / self.shown_s,
        )
        return tuple(min(max(value, low), high) for value, (low, high) in zip(found, BOUNDS, strict=True))


def dumps_visit(visit: Visit) -> bytes:
    """MessagePack, at most about 200 bytes."""
    return msgspec.msgpack.encode(visit)


def loads_visit(data: bytes) -> Visit:
    """The inverse of `dumps_visit`. Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=Visit)

"""What a viewer saw of one session, in the features that a QoE is learnt from (`abr.opinions.features`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from abr.core.events import Playing, Shown, loads_log
from server.errors import RequestError
from server.experiments.visit import Visit
from server.monitoring.shown_quality import ShownQuality


class WatchedSession(NamedTuple):
    """title: its id. features: by name."""

    title: str
    features: dict[str, float]


def watched_session(title: str, log: bytes, quality_of: Callable[[Shown], ShownQuality | None]) -> WatchedSession:
    """Of a session's log. Raises RequestError 409 before a segment was shown."""
    events = loads_log(log)
    visit = Visit().after(events, quality_of)
    if not visit.segments or visit.shown_s <= 0:
        raise RequestError(409, "Nothing of this session has been shown yet; watch first.")
    shown = [event for event in events if isinstance(event, Shown)]
    frames = sum(event.frames for event in shown)
    features = {
        "quality": visit.quality / visit.segments,
        "change": visit.change / max(1, visit.segments - 1),
        "stall_s": 60 * visit.stall_s / visit.shown_s,
        "startup_s": next((event.startup_s for event in events if isinstance(event, Playing)), 0.0),
        "enhanced_share": sum(event.enhanced_frames for event in shown) / frames if frames else 0.0,
    }
    return WatchedSession(title, {name: round(value, 3) for name, value in features.items()})

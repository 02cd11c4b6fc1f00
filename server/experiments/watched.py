"""What a viewer saw of one film, in the features that a QoE is learnt from (`abr.opinions.features`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from abr.core.events import AnyEvent, Playing, Shown, loads_log
from server.errors import RequestError
from server.experiments.visit import Visit
from server.monitoring.shown_quality import ShownQuality


class WatchedFilm(NamedTuple):
    """title: its id. features: by name."""

    title: str
    features: dict[str, float]


class LoggedSession(NamedTuple):
    """The log of a session, and what knows its title."""

    log: bytes
    quality_of: Callable[[Shown], ShownQuality | None]


def watched_film(title: str, sessions: Sequence[LoggedSession]) -> WatchedFilm:
    """Of the sessions of one viewing, in their order. Raises RequestError 409 before a segment was shown."""
    events: list[AnyEvent] = []
    visit = Visit()
    for session in sessions:
        told = loads_log(session.log)
        visit = visit.after(told, session.quality_of)
        events += told
    if not visit.segments or visit.shown_s <= 0:
        raise RequestError(409, "Nothing has been shown yet; watch first.")
    shown = [event for event in events if isinstance(event, Shown)]
    frames = sum(event.frames for event in shown)
    features = {
        "quality": visit.quality / visit.segments,
        "change": visit.change / max(1, visit.segments - 1),
        "stall_s": 60 * visit.stall_s / visit.shown_s,
        "startup_s": next((event.startup_s for event in events if isinstance(event, Playing)), 0.0),
        "enhanced_share": sum(event.enhanced_frames for event in shown) / frames if frames else 0.0,
    }
    return WatchedFilm(title, {name: round(value, 3) for name, value in features.items()})

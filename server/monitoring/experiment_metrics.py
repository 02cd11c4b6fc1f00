"""What a running experiment has come to, for Prometheus: the figures of GET /qoe, as last asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import Gauge

from server.monitoring.metric_factory import MetricFactory


class Bounds(NamedTuple):
    """A mean and its interval, whose ends are None while there are too few visits."""

    mean: float
    low: float | None
    high: float | None


class ExperimentMetrics:
    """Gauges by arm. Any worker knows the figures of all, so the one that set them last tells."""

    def __init__(self, make: MetricFactory) -> None:
        def gauge(name: str, help_text: str, *labels: str) -> Gauge:
            return make.gauge(f"experiment_{name}", help_text, "arm", *labels, over_workers="mostrecent")

        self._sessions = gauge("sessions", "Sessions opened in an arm of the experiment.")
        self._visits = gauge("visits", "Visits of an arm that told what their viewers saw.")
        self._figures = {
            "qoe": gauge("qoe", "QoE of an arm's visits: mean, and low and high of its interval.", "bound"),
            "quality": gauge("quality", "Quality shown in an arm's visits, in what decisions count.", "bound"),
            "rebuffering": gauge("rebuffering_ratio", "Part of an arm's time that playback stood still.", "bound"),
            "switches_per_minute": gauge("switches_per_minute", "Changes of rendition a minute shown.", "bound"),
        }
        self._difference = gauge("qoe_difference", "QoE of an arm less that of the first arm.", "bound")

    def show_arm(self, arm: str, sessions: int, visits: int, figures: Mapping[str, Bounds]) -> None:
        """Bring an arm up to date. figures: by name, as far as they are known."""
        self._sessions.labels(arm).set(sessions)
        self._visits.labels(arm).set(visits)
        for name, bounds in figures.items():
            _set(self._figures[name], arm, bounds)

    def show_difference(self, arm: str, qoe: Bounds) -> None:
        """Bring an arm's difference from the first one up to date."""
        _set(self._difference, arm, qoe)


def _set(gauge: Gauge, arm: str, bounds: Bounds) -> None:
    for name, value in bounds._asdict().items():
        if value is not None:
            gauge.labels(arm, name).set(value)

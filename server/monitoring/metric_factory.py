"""Makes metrics with one prefix in one registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.monitoring.prometheus_export import ExemplarHistogram

_Gauged = Literal["livesum", "max", "mostrecent"]


class MetricFactory:
    """Makes metrics named `toprung_…` in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.traced: list[ExemplarHistogram] = []

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """A number that only grows."""
        return Counter(name, help_text, labels, namespace="toprung", registry=self.registry)

    def gauge(self, name: str, help_text: str, *labels: str, over_workers: _Gauged = "livesum") -> Gauge:
        """A number that goes up and down; `over_workers` says how those of several workers are joined."""
        return Gauge(
            name, help_text, labels, namespace="toprung", registry=self.registry, multiprocess_mode=over_workers
        )

    def histogram(self, name: str, help_text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        """How often values fell below each of the buckets' bounds."""
        return Histogram(name, help_text, labels, namespace="toprung", registry=self.registry, buckets=buckets)

    def traced_histogram(self, name: str, help_text: str, buckets: Sequence[float]) -> ExemplarHistogram:
        """One without labels whose buckets remember a session."""
        made = ExemplarHistogram(f"toprung_{name}", self.histogram(name, help_text, buckets), buckets)
        self.traced.append(made)
        return made

"""Sums of private telemetry, in Prometheus' words. A metric is there once a cohort's sum has told something of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from abr.private_telemetry.layout import TELEMETRY, Counted, Layout
from abr.secure_aggregation.masks import Words
from server.monitoring.metric_factory import MetricFactory


class PrivateMetrics:
    """Rounds counted, and the sums of all that came to one."""

    def __init__(self, make: MetricFactory, layout: Layout = TELEMETRY) -> None:
        self.rounds = make.counter(
            "private_rounds",
            "Rounds of private telemetry, by what they came to: summed; few, when too few joined or stayed; unopened, "
            "when too many left before the end; spoiled, when a member had lied.",
            "outcome",
        )
        self.members = make.counter("private_members", "Players that joined a round.")
        self.survivors = make.counter("private_survivors", "Players whose vectors are in the sums.")
        self.last_survivors = make.gauge(
            "private_last_round_survivors", "Players whose vectors are in the newest sum.", over_workers="mostrecent"
        )
        self._sums = [
            _Sum(make.registry, tuple(each)) for _, each in groupby(layout.parts(), key=lambda part: part[1].name)
        ]

    def count_round(self, outcome: str, members: int, survivors: int) -> None:
        """See SumListener."""
        self.rounds.labels(outcome).inc()
        self.members.inc(members)
        if outcome == "summed":
            self.survivors.inc(survivors)
            self.last_survivors.set(survivors)

    async def take_sum(self, total: Words, survivors: int) -> None:
        """See SumListener."""
        for each in self._sums:
            each.add(total)


class _Sum(Collector):
    """One metric: a histogram or a counter, with a series for each of its labels."""

    def __init__(self, registry: CollectorRegistry, parts: Sequence[tuple[int, Counted]]) -> None:
        first = parts[0][1]
        self._name = f"toprung_private_{first.name}"
        self._type = "histogram" if first.bounds else "counter"
        self._labelnames = tuple(first.labels)
        self._documentation = f"Sum over private cohorts. {first.help_text}"
        self._parts = parts
        self._totals = {start: np.zeros(counted.words, dtype=np.int64) for start, counted in parts}
        self._has_sum = False
        registry.register(self)

    def add(self, total: Words) -> None:
        self._has_sum = True
        for start, counted in self._parts:
            self._totals[start] += total[start : start + counted.words].astype(np.int64)

    def describe(self) -> Iterable[Metric]:
        """What the registry checks names by."""
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        """The metric, once there is a sum; with labels, those of its series that tell something."""
        if not self._has_sum:
            return
        family = self._family()
        for start, counted in self._parts:
            words = self._totals[start].tolist()
            if any(words) or not counted.labels:
                _add(family, counted, words)
        yield family

    def _family(self) -> HistogramMetricFamily | CounterMetricFamily:
        kind = HistogramMetricFamily if self._type == "histogram" else CounterMetricFamily
        return kind(self._name, self._documentation, labels=self._labelnames)


def _add(family: HistogramMetricFamily | CounterMetricFamily, counted: Counted, words: Sequence[int]) -> None:
    labels: Mapping[str, str] = counted.labels
    value = words[-1] * counted.step
    if isinstance(family, CounterMetricFamily):
        family.add_metric(list(labels.values()), value)
        return
    names = [floatToGoString(bound) for bound in (*counted.bounds, float("inf"))]  # type: ignore[no-untyped-call]
    buckets = list(zip(names, map(float, accumulate(words[:-1])), strict=True))
    family.add_metric(list(labels.values()), buckets=buckets, sum_value=value)

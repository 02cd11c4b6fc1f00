"""How metrics leave the server: as Prometheus' text or OpenMetrics, over all workers, with exemplars.

Several workers share a folder of memory-mapped files (prometheus_client's multiprocess mode), so any of them answers a
scrape for all, and what a dead worker counted stays counted. That library keeps no exemplars there; here the worker
that answers adds its own, which is enough for what they are: examples.
"""

from __future__ import annotations

import os
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from server.sessions.session_ids import public_part

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Histogram
    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Exemplar

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when it is imported, so it must be set before the workers import it."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


@contextmanager
def shared_metrics() -> Iterator[str]:
    """A fresh folder in which the workers started inside the block count together. Yields its path."""
    with tempfile.TemporaryDirectory(prefix="toprung-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield folder
        finally:
            del os.environ[FOLDER_VARIABLE]


def worker_ended(process_id: int) -> None:
    """Take a worker that is gone out of the gauges, which tell how things are; its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process_id)  # type: ignore[no-untyped-call]


class ExemplarHistogram:
    """A histogram that remembers the newest session in each of its buckets."""

    def __init__(self, name: str, histogram: Histogram, buckets: Sequence[float]) -> None:
        from prometheus_client.utils import floatToGoString

        self._bucket = f"{name}_bucket"
        self._histogram = histogram
        self._bounds = tuple(map(float, buckets))
        self._names = [floatToGoString(bound) for bound in (*self._bounds, float("inf"))]  # type: ignore[no-untyped-call]
        self._newest: dict[int, tuple[str, float, float]] = {}

    def observe(self, value: float, session_id: str) -> None:
        """Count `value`, seen in that session."""
        self._histogram.observe(value)
        self._newest[bisect_left(self._bounds, value)] = session_id, value, time.time()

    def exemplars(self) -> Iterator[tuple[_Key, Exemplar]]:
        """Of each bucket its sample's key and the newest exemplar."""
        from prometheus_client.samples import Exemplar

        for index, (session_id, value, at_s) in list(self._newest.items()):
            yield (
                (self._bucket, (("le", self._names[index]),)),
                Exemplar({"session": public_part(session_id)}, value, at_s),
            )


class PrometheusExport:
    """All that a scrape of this process tells."""

    def __init__(self, registry: CollectorRegistry, traced: Iterable[ExemplarHistogram]) -> None:
        self._registry = registry
        self._traced = tuple(traced)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Body and content type for a scrape with that Accept header. Exemplars exist in OpenMetrics only."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """Families of all workers, with this one's exemplars."""
        exemplars = dict(pair for traced in self._traced for pair in traced.exemplars())
        for metric in self._families():
            metric.samples = [
                sample._replace(exemplar=exemplars.get((sample.name, tuple(sample.labels.items()))))
                for sample in metric.samples
            ]
            yield metric

    def _families(self) -> Iterable[Metric]:
        if FOLDER_VARIABLE not in os.environ:
            return self._registry.collect()
        from prometheus_client.multiprocess import MultiProcessCollector

        return MultiProcessCollector(None).collect()  # type: ignore[no-untyped-call, no-any-return]

"""Renders docs/reference/metrics.md from the server's own registry: `python docs/reference/render_metrics.py`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from client_player.edge.metrics import EdgeMetrics
from server.monitoring.metrics import Metrics

PAGE = Path(__file__).with_name("metrics.md")

HEAD = """\
# Metrics

<!-- Made from the server's registry by render_metrics.py: run it after a change. -->

What `GET /metrics` shows, in the Prometheus text format, or in OpenMetrics for those who accept
it. Units are base units. Labels come from bounded sets; a session id is never a label. A counter
ends in `_total`. A histogram has `_bucket`, `_sum` and `_count`.

Metrics that begin with `toprung_viewer_` are what players report of what their viewers saw. The
histograms marked ● carry exemplars: the first 16 characters of a session id.

"""

EDGE_HEAD = """
## The edge node

What `GET /metrics` shows of `toprung edge`.

"""


def rows(registry: CollectorRegistry, traced: set[str]) -> Iterator[str]:
    """A line of the table for each metric, in the order in which they were made."""
    for collector in registry._collector_to_names:
        name = collector._name + ("_total" if collector._type == "counter" else "")  # type: ignore[attr-defined]
        labels = ", ".join(f"`{label}`" for label in collector._labelnames)  # type: ignore[attr-defined]
        kind = collector._type + (" ●" if collector._name in traced else "")  # type: ignore[attr-defined]
        yield f"| `{name}` | {kind} | {labels} | {collector._documentation} |\n"  # type: ignore[attr-defined]


def render() -> str:
    """The page as Markdown."""
    exposition = Metrics(time.time, "0")._export
    traced = {each._bucket.removesuffix("_bucket") for each in exposition._traced}
    table = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
    ours = HEAD + table + "".join(rows(exposition._registry, traced))
    return ours + EDGE_HEAD + table + "".join(rows(EdgeMetrics().registry, set()))


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")

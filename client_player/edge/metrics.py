"""What an edge node counts, in Prometheus' words."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from server.monitoring.metric_factory import MetricFactory

disable_created_metrics()  # type: ignore[no-untyped-call]
# A second series for every counter, which nothing reads.

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LIFT_S = (0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64)


class EdgeMetrics:
    """All metrics of one node. The registry is its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make = MetricFactory(self.registry)
        build = make.gauge("build_info", "What is running; always 1.", "version", over_workers="max")
        build.labels(version("toprung")).set(1)
        self.backhaul_bytes = make.counter("edge_backhaul_bytes", "Bytes that came over the backhaul.", "kind")
        self.served_bytes = make.counter("edge_served_bytes", "Body bytes sent to viewers.", "kind")
        self.peer_bytes = make.counter("edge_peer_bytes", "Bytes that came from other nodes of the site.")
        self.site_up = make.gauge(
            "edge_site_up", "1 while Redis answers and nodes share, 0 while it does not, or this node has none."
        )
        self.segments = make.counter(
            "edge_segments",
            "Video segments sent: lifted, plain because that was decided, or plain because the lift was late.",
            "form",
        )
        self.placed = make.counter(
            "edge_enhance_at", "Devices that asked where to enhance, by what they were told.", "at"
        )
        self.answers = make.counter("edge_answers", "Requests answered.", "status")
        self.gained_points = make.counter(
            "edge_gained_point_seconds", "VMAF points that lifts added, times the seconds of media sent with them."
        )
        self.deadline_misses = make.counter(
            "edge_deadline_misses", "Segments sent plain, since their lift would have come too late for the viewer."
        )
        self.viewers = make.gauge("edge_viewers", "Viewers that asked lately, as far as requests tell.")
        self.cache_bytes = make.gauge("edge_cache_bytes", "Bytes of the cache on the disk.")
        self.cache_faults = make.gauge(
            "edge_cache_faults",
            "Cached files that were found damaged, had to go, or were refused by the disk.",
            "fault",
        )
        self.origin_up = make.gauge("edge_origin_up", "1 while the origin answers, 0 while it is away.")

        self._make_lifts(make)
        for kind in ("document", "video", "sound", "weights"):
            self.backhaul_bytes.labels(kind)  # told from the start, so that rates see the first of them
        for form in ("lifted", "plain", "late"):
            self.segments.labels(form)
            self.served_bytes.labels(form)

    def _make_lifts(self, make: MetricFactory) -> None:
        self.lifts = make.counter("edge_lifts", "Orders to lift a segment, by what became of them.", "outcome")
        self.lift_s = make.histogram("edge_lift_seconds", "Lifting one segment, encoding included.", _LIFT_S)
        self.lift_cpu_s = make.counter("edge_lift_cpu_seconds", "Processor time of lifting, encoding included.")
        self.lift_energy_j = make.counter(
            "edge_lift_energy_joules",
            "Energy of lifting, above the machine at rest, by what it was read from: rapl, battery, or model.",
            "source",
        )
        self.saved_bytes = make.counter(
            "edge_saved_bytes", "Bytes that the ladder alone would have taken over the backhaul for the same quality."
        )
        self.pays = make.gauge("edge_lifting_pays", "1 while segments are lifted, 0 while that does not pay.")
        self.pauses = make.counter("edge_lifting_pauses", "Times that lifting was found not to pay, by why.", "reason")
        self.declined = make.counter(
            "edge_declined",
            "Segments decided to be served as they come, since a lift would not pay, by why.",
            "reason",
        )
        self.lifted_media_s = make.counter("edge_lifted_media_seconds", "Media time of the segments that were lifted.")
        self.queue_length = make.gauge("edge_lift_queue_length", "Segments that wait to be lifted, or are under way.")
        self.backlog_s = make.gauge("edge_lift_backlog_seconds", "How long the lifters have to do with these.")

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

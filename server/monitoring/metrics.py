"""What the server counts, in Prometheus' words. One registry for each app, labels from bounded sets only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock

from msgspec import UnsetType
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from abr.core.enhancement import PLAIN
from abr.core.events import AnyEvent, Downloaded, Failed, Playing, Shown, Stalled, Stepped
from server.clock import Clock
from server.monitoring.experiment_metrics import ExperimentMetrics
from server.monitoring.federation_metrics import FederationMetrics
from server.monitoring.fleet_metrics import FleetMetrics
from server.monitoring.metric_factory import MetricFactory
from server.monitoring.private_metrics import PrivateMetrics
from server.monitoring.process_stats import ProcessStats, read_process_stats
from server.monitoring.prometheus_export import PrometheusExport
from server.monitoring.shown_quality import ShownQuality
from server.sessions.decisions import SegmentDecision

disable_created_metrics()  # type: ignore[no-untyped-call]
# A second series for every counter, which nothing reads.

ACTIVE_S = 60.0
"""A session counts as active for this long after its last request."""
ACTIVE_MAX = 65_536

_FAST_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIT_S = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
_STALL_S = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_AGE_S = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_BUFFER_S = (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96)
_BYTES = tuple(1 << power for power in range(12, 25))
_BYTES_PER_S = tuple(1 << power for power in range(13, 27))
_VMAF = (10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95, 100)
_ENHANCE_S = (0.001, 0.002, 0.004, 0.008, 0.012, 0.016, 0.024, 0.032, 0.042, 0.064, 0.128, 0.256)


class Metrics:
    """All metrics of one app."""

    def __init__(self, clock: Clock, version: str) -> None:
        make = MetricFactory(CollectorRegistry())
        build = make.gauge("build_info", "What is running; always 1.", "version", over_workers="max")
        build.labels(version).set(1)
        self.active = ActiveSessions(clock)
        self._active = make.gauge(
            "sessions_active", f"Sessions heard of in the last {ACTIVE_S:.0f} s, by each worker for itself."
        )
        self.viewers = ViewerMetrics(make)
        self.worker = WorkerMetrics(make)
        self.experiment = ExperimentMetrics(make)
        self.private = PrivateMetrics(make)
        self.fleet = FleetMetrics(make)
        self.federation = FederationMetrics(make)
        self.requests = make.counter("http_requests", "HTTP requests answered.", "method", "route", "status")
        self.request_s = make.histogram(
            "http_request_duration_seconds", "From a request's headers to its answer's last byte.", _REQUEST_S, "route"
        )
        self.response_bytes = make.counter("http_response_bytes", "Body bytes sent.", "route")
        self.started = make.counter("sessions_started", "Sessions opened.", "controller")
        self.ended = make.counter("sessions_ended", "Active sessions that said they ended, or were deleted.")
        self.decisions = make.counter(
            "decisions", "Segments decided, by what was chosen.", "controller", "rendition", "enhancer"
        )
        self.decision_rounds = make.counter(
            "decision_rounds", "Times that segments were decided, all at once that were asked for at the same moment."
        )
        self.switches = make.counter(
            "decision_switches", "Decisions for another rendition than the segment before had.", "direction"
        )
        self.decided_s = make.counter(
            "decided_seconds", "Media time of decided segments; decision switches over it are switches a second."
        )
        self.shared_decisions = make.counter(
            "shared_decisions", "Segments decided by a viewer's share of its group's link."
        )
        self.repeats = make.counter("decision_repeats", "Segments asked for again and answered as before.")
        self.conflicts = make.counter("decision_conflicts", "Decisions taken anew, since another came between.")
        self.controller_failures = make.counter(
            "controller_failures", "Decisions that a controller failed to take.", "controller"
        )
        self.decision_s = make.traced_histogram(
            "decision_duration_seconds", "Choosing one segment; of those chosen together an equal share.", _FAST_S
        )
        self.promised_vmaf = make.traced_histogram("promised_vmaf", "VMAF promised of decided segments.", _VMAF)
        self.promised_quality = make.traced_histogram(
            "promised_quality", "Quality promised of decided segments, in what decisions count.", _VMAF
        )
        self.segment_bytes = make.histogram("segment_bytes", "Bytes of decided video segments.", _BYTES)
        self.weights_bytes = make.counter("weights_bytes", "Bytes of enhancer weights sent.")
        self.cmcd_faults = make.counter("cmcd_faults", "Requests whose CMCD was malformed and left aside.")
        self.store_failures = make.counter("store_failures", "Requests for which the session store failed.")
        self.degraded = make.counter(
            "decisions_degraded", "Decisions taken without the session store, from what one worker knew."
        )
        self.live_decisions = make.counter(
            "live_decisions",
            "Segments of live titles decided, by the state of what trains their networks; none where nothing does.",
            "trainer",
        )
        self.live_ladders = make.counter(
            "live_ladder_decisions",
            "Segments of live titles decided, by what is made of the ladder: whole, eased, or shed.",
            "ladder",
        )
        self.publication_age_s = make.histogram(
            "live_publication_age_seconds",
            "How old the newest networks of a live title were when a segment of it was decided.",
            _AGE_S,
        )
        self._export = PrometheusExport(make.registry, make.traced)
        self._decided: dict[tuple[str, str, str], Counter] = {}
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram, Counter]] = {}

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Body and content type: OpenMetrics with exemplars for who accepts it, else the Prometheus text format."""
        self.refresh()
        self.worker.read(read_process_stats())
        return self._export.text(accept)

    def refresh(self) -> None:
        """Bring gauges up to date that nothing else sets."""
        self._active.set(self.active.count())

    def count_answer(self, method: str, route: str, status: int, sent_bytes: int, took_s: float) -> None:
        """Counts one answer."""
        series = self._answers.get((method, route, status))
        if series is None:  # looking labels up costs more than counting
            series = self._answers[method, route, status] = (
                self.requests.labels(method, route, status),
                self.request_s.labels(route),
                self.response_bytes.labels(route),
            )
        answers, seconds, body_bytes = series
        answers.inc()
        seconds.observe(took_s)
        body_bytes.inc(sent_bytes)

    def count_decision(self, controller: str, decided: SegmentDecision, session_id: str) -> None:
        """Counts a decision, new or repeated."""
        if decided.event is None:
            self.repeats.inc()
            return
        chosen = controller, decided.rendition, decided.enhancer
        series = self._decided.get(chosen)
        if series is None:  # as above
            series = self._decided[chosen] = self.decisions.labels(*chosen)
        series.inc()
        self.promised_vmaf.observe(decided.promised_vmaf, session_id)
        self.promised_quality.observe(decided.promised_quality, session_id)
        self.segment_bytes.observe(decided.event.size_bytes)
        self.decided_s.inc(decided.duration_s)
        if decided.rungs_up:
            self.switches.labels("up" if decided.rungs_up > 0 else "down").inc()
        if decided.failed:
            self.controller_failures.labels(controller).inc()

    def count_live_decision(self, trainer: str, published_s: float, ladder: str, now_s: float) -> None:
        """A segment of a live title was decided. trainer: its state. published_s: as in LiveLearning.

        ladder: whole, eased or shed.
        """
        self.live_decisions.labels(trainer).inc()
        self.live_ladders.labels(ladder).inc()
        if published_s > 0:
            self.publication_age_s.observe(max(0.0, now_s - published_s))

    def count_opening(self, controller: str, session_id: str) -> None:
        """Counts a new session, which is active from now on."""
        self.started.labels(controller).inc()
        self.active.touch(session_id)

    def count_end(self, session_id: str) -> None:
        """Counts the end of a session once, however often it is told."""
        if self.active.forget(session_id):
            self.ended.inc()


class ViewerMetrics:
    """What players report of what their viewers saw."""

    def __init__(self, make: MetricFactory) -> None:
        self.events = make.counter("viewer_events", "Events posted by players.", "event")
        self.vmaf = make.traced_histogram(
            "viewer_vmaf", "VMAF of shown segments, by the title's tables and the share of frames enhanced.", _VMAF
        )
        self.quality = make.traced_histogram(
            "viewer_quality", "Quality of shown segments in what decisions count: trusted quality, or VMAF.", _VMAF
        )
        self.shown_s = make.counter("viewer_shown_seconds", "Media time shown.")
        self.energy_j = make.counter(
            "viewer_energy_joules",
            "What enhancing took of viewers' devices above rest, by their profiles; estimates too.",
        )
        self.stall_s = make.traced_histogram(
            "viewer_stall_seconds", "How long playback stood still, each time.", _STALL_S
        )
        self.startup_s = make.traced_histogram("viewer_startup_seconds", "Time to the first frame.", _WAIT_S)
        self.frames = make.counter("viewer_frames", "Frames shown, enhanced or plain.", "kind")
        self.late_frames = make.counter("viewer_late_frames", "Frames that missed their instant.")
        self.fallback_frames = make.counter(
            "viewer_fallback_frames", "Frames shown plain although an enhancer had been decided."
        )
        self.buffer_s = make.histogram(
            "viewer_buffer_seconds", "Media buffered when a segment had been shown.", _BUFFER_S
        )
        self.live_latency_s = make.traced_histogram(
            "viewer_live_latency_seconds", "How far behind the live edge segments of live streams were shown.", _STALL_S
        )
        self.enhance_s = make.histogram(
            "viewer_enhance_seconds",
            "95th percentile of the time to enhance a frame, a segment.",
            _ENHANCE_S,
            "enhancer",
        )
        self.steps = make.counter("viewer_steps", "Times that a player changed the enhancer tier by itself.")
        self.failures = make.counter("viewer_failures", "Troubles that players survived.")
        self.throughput = make.traced_histogram(
            "viewer_throughput_bytes_per_second", "Rate of each video download, latency included.", _BYTES_PER_S
        )
        self.latency_s = make.histogram(
            "viewer_latency_seconds", "From asking for a video segment to its first byte.", _REQUEST_S
        )
        self.downloaded = make.counter("viewer_downloaded_bytes", "Bytes that players downloaded.", "kind")

    def observe(
        self, events: Iterable[AnyEvent], session_id: str, quality_of: Callable[[Shown], ShownQuality | None]
    ) -> None:
        """Count what one batch of a session's events tells. `quality_of` knows the session's title."""
        for event in events:
            self.events.labels(type(event).__struct_config__.tag).inc()
            match event:
                case Shown():
                    self._shown(event, session_id, quality_of(event))
                case Downloaded():
                    self._downloaded(event, session_id)
                case Stalled():
                    self.stall_s.observe(event.duration_s, session_id)
                case Playing():
                    self.startup_s.observe(event.startup_s, session_id)
                case Stepped():
                    self.steps.inc()
                case Failed():
                    self.failures.inc()

    def _shown(self, event: Shown, session_id: str, quality: ShownQuality | None) -> None:
        self.frames.labels("enhanced").inc(event.enhanced_frames)
        self.frames.labels("plain").inc(event.plain_frames)
        self.late_frames.inc(event.late_frames)
        self.buffer_s.observe(event.buffer_s)
        if not isinstance(event.latency_s, UnsetType):
            self.live_latency_s.observe(event.latency_s, session_id)
        if quality is None:
            return
        self.vmaf.observe(quality.vmaf, session_id)
        self.quality.observe(quality.quality, session_id)
        self.shown_s.inc(quality.duration_s)
        self.energy_j.inc(quality.energy_j)
        if quality.enhancer != PLAIN:
            self.fallback_frames.inc(event.plain_frames)
            self.enhance_s.labels(quality.enhancer).observe(event.enhance_p95_ms / 1000)

    def _downloaded(self, event: Downloaded, session_id: str) -> None:
        self.downloaded.labels(event.kind if event.kind in _KINDS else "other").inc(event.size_bytes)
        if event.kind == "video" and event.duration_s > 0:
            self.throughput.observe(event.size_bytes / max(event.duration_s, _DOWNLOAD_MIN_S), session_id)
            self.latency_s.observe(event.latency_s)


_DOWNLOAD_MIN_S = 1e-3
"""Players can say anything; a rate beyond all measure would stay in the sum for ever."""
_KINDS = ("video", "audio", "init", "weights")


class WorkerMetrics:
    """What the workers take of the machine, all together."""

    def __init__(self, make: MetricFactory) -> None:
        self.resident = make.gauge("resident_memory_bytes", "Resident memory of all workers.")
        self.open_files = make.gauge("open_file_descriptors", "File descriptors that the workers have open.")
        self.open_files_max = make.gauge("max_file_descriptors", "File descriptors that the workers may have open.")
        self.cpu = make.counter("cpu_seconds", "Processor time of all workers.")
        self.lag_s = make.histogram("loop_lag_seconds", "How much too late an event loop woke.", _FAST_S)
        self._cpu_s = 0.0
        self._lock = Lock()

    def read(self, stats: ProcessStats) -> None:
        """Take over a new reading of this process. The loop and a scrape may both bring one."""
        with self._lock:
            self._read(stats)

    def _read(self, stats: ProcessStats) -> None:
        if stats.resident_bytes is not None:
            self.resident.set(stats.resident_bytes)
        self.open_files.set(stats.open_files)
        self.open_files_max.set(stats.open_files_max)
        self.cpu.inc(max(0.0, stats.cpu_s - self._cpu_s))
        self._cpu_s = stats.cpu_s


class ActiveSessions:
    """Which sessions sent a request lately, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._touched_s: OrderedDict[str, float] = OrderedDict()

    def touch(self, session_id: str) -> None:
        """The session sent a request just now."""
        self._touched_s[session_id] = self._clock()
        self._touched_s.move_to_end(session_id)
        if len(self._touched_s) > ACTIVE_MAX:
            self._touched_s.popitem(last=False)

    def forget(self, session_id: str) -> bool:
        """False when it was not among them."""
        return self._touched_s.pop(session_id, None) is not None

    def count(self) -> float:
        """How many were heard of lately."""
        oldest_s = self._clock() - ACTIVE_S
        while self._touched_s and next(iter(self._touched_s.values())) < oldest_s:
            self._touched_s.popitem(last=False)
        return float(len(self._touched_s))

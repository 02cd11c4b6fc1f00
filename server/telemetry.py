"""What the server counts, in Prometheus' words. One registry for each app, labels from bounded sets only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)

from abr.events import AnyEvent, Ended, Failed, Playing, Shown, Stalled, Stepped
from server.decisions import Taken
from server.store import Clock

disable_created_metrics()  # type: ignore[no-untyped-call]
# A second series for every counter, which nothing reads.

ACTIVE_S = 60.0
"""A session counts as active for this long after its last request."""
ACTIVE_MAX = 65_536

_FAST_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIT_S = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
_BUFFER_S = (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96)
_BYTES = tuple(1 << power for power in range(12, 25))
_VMAF = (10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95, 100)


class _Maker:
    """Makes metrics named `toprung_…` in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, namespace="toprung", registry=self.registry)

    def gauge(self, name: str, help_text: str) -> Gauge:
        return Gauge(name, help_text, namespace="toprung", registry=self.registry)

    def histogram(self, name: str, help_text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, namespace="toprung", registry=self.registry, buckets=buckets)


class Telemetry:
    """All metrics of one app."""

    def __init__(self, clock: Clock, version: str) -> None:
        self.registry = CollectorRegistry()
        make = _Maker(self.registry)
        Info("toprung_build", "What is running.", registry=self.registry).info({"version": version})
        self.active = ActiveSessions(clock)
        make.gauge("sessions_active", f"Sessions heard of in the last {ACTIVE_S:.0f} s by this process.").set_function(
            self.active.count
        )
        self.viewers = ViewerMetrics(make)
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
        self.repeats = make.counter("decision_repeats", "Segments asked for again and answered as before.")
        self.conflicts = make.counter("decision_conflicts", "Decisions taken anew, since another came between.")
        self.controller_failures = make.counter(
            "controller_failures", "Decisions that a controller failed to take.", "controller"
        )
        self.decision_s = make.histogram(
            "decision_duration_seconds", "The CPU part of a decision: observe and choose.", _FAST_S
        )
        self.promised_vmaf = make.histogram("promised_vmaf", "VMAF promised of decided segments.", _VMAF)
        self.segment_bytes = make.histogram("segment_bytes", "Bytes of decided video segments.", _BYTES)
        self.weights_bytes = make.counter("weights_bytes", "Bytes of enhancer weights sent.")
        self.cmcd_faults = make.counter("cmcd_faults", "Requests whose CMCD was malformed and left aside.")
        self.store_failures = make.counter("store_failures", "Requests for which the session store failed.")

    def text(self) -> bytes:
        """The Prometheus exposition format, version 0.0.4."""
        return generate_latest(self.registry)

    def decided(self, controller: str, taken: Taken) -> None:
        """Counts a decision, new or repeated."""
        if taken.event is None:
            self.repeats.inc()
            return
        self.decisions.labels(controller, taken.rendition, taken.enhancer).inc()
        self.promised_vmaf.observe(taken.promised_vmaf)
        self.segment_bytes.observe(taken.event.size_bytes)
        if taken.failed:
            self.controller_failures.labels(controller).inc()

    def end(self, session_id: str) -> None:
        """Counts the end of a session once, however often it is told."""
        if self.active.forget(session_id):
            self.ended.inc()


class ViewerMetrics:
    """What players report of what their viewers saw."""

    def __init__(self, make: _Maker) -> None:
        self.events = make.counter("viewer_events", "Events posted by players.", "event")
        self.stalls = make.counter("viewer_stalls", "Times that playback stood still.")
        self.stall_s = make.counter("viewer_stall_seconds", "Time that playback stood still.")
        self.played_s = make.counter("viewer_played_seconds", "Media time played, of sessions that ended.")
        self.startup_s = make.histogram("viewer_startup_seconds", "Time to the first frame.", _WAIT_S)
        self.frames = make.counter(
            "viewer_frames", "Frames shown, enhanced or plain; late ones are those that missed their instant.", "kind"
        )
        self.buffer_s = make.histogram(
            "viewer_buffer_seconds", "Media buffered when a segment had been shown.", _BUFFER_S
        )
        self.steps = make.counter("viewer_steps", "Times that a player changed the enhancer tier by itself.")
        self.failures = make.counter("viewer_failures", "Troubles that players survived.")

    def observe(self, events: Iterable[AnyEvent]) -> None:
        """Count what one batch tells."""
        for event in events:
            self.events.labels(type(event).__struct_config__.tag).inc()
            match event:
                case Shown():
                    self.frames.labels("enhanced").inc(event.enhanced_frames)
                    self.frames.labels("plain").inc(event.plain_frames)
                    self.frames.labels("late").inc(event.late_frames)
                    self.buffer_s.observe(event.buffer_s)
                case Stalled():
                    self.stalls.inc()
                    self.stall_s.inc(event.duration_s)
                case Playing():
                    self.startup_s.observe(event.startup_s)
                case Ended():
                    self.played_s.inc(event.played_s)
                case Stepped():
                    self.steps.inc()
                case Failed():
                    self.failures.inc()


class ActiveSessions:
    """Which sessions were heard of lately, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard_s: OrderedDict[str, float] = OrderedDict()

    def hear(self, session_id: str) -> None:
        self._heard_s[session_id] = self._clock()
        self._heard_s.move_to_end(session_id)
        if len(self._heard_s) > ACTIVE_MAX:
            self._heard_s.popitem(last=False)

    def forget(self, session_id: str) -> bool:
        """False when it was not among them."""
        return self._heard_s.pop(session_id, None) is not None

    def count(self) -> float:
        oldest_s = self._clock() - ACTIVE_S
        while self._heard_s and next(iter(self._heard_s.values())) < oldest_s:
            self._heard_s.popitem(last=False)
        return float(len(self._heard_s))

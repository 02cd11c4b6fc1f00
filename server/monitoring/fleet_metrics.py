"""Devices by class of speed, and what each tier takes and brings on them, for Prometheus."""

from __future__ import annotations

from abr.core.events import Shown
from server.monitoring.metric_factory import MetricFactory
from server.monitoring.shown_quality import ShownQuality

_FRAME_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.042, 0.064, 0.128, 0.256, 0.512)
_FRAMES_MAX = 1 << 12
"""Of a segment; players can say anything."""


class FleetMetrics:
    """Series of (class of devices, tier): at most 6 × 7."""

    def __init__(self, make: MetricFactory) -> None:
        self._sessions = make.counter(
            "fleet_sessions", "Sessions opened, by the speed of their device.", "device_class"
        )
        self._frames = make.counter(
            "fleet_frames",
            "Frames of shown segments that a tier was to lift: enhanced, or plain all the same. Tier none: plain.",
            "device_class",
            "tier",
            "kind",
        )
        self._frame_s = make.histogram(
            "fleet_enhance_seconds",
            "Time to enhance a frame, a segment: its median (percentile 50) and its 95th percentile (95).",
            _FRAME_S,
            "device_class",
            "tier",
            "percentile",
        )
        self._gain = make.counter(
            "fleet_gained_point_seconds",
            "Points of quality above plain playback, times seconds shown; losses do not count.",
            "device_class",
            "tier",
        )
        self._shown_s = make.counter(
            "fleet_lifted_seconds", "Media time of segments that a tier was to lift.", "device_class", "tier"
        )

    def count_session(self, device: str) -> None:
        """A session was opened by a device of this class."""
        self._sessions.labels(device).inc()

    def count_shown(self, device: str, tier: str, event: Shown, seen: ShownQuality) -> None:
        """A segment was shown. tier: empty for plain playback."""
        frames = min(event.frames, _FRAMES_MAX)
        enhanced = min(event.enhanced_frames, frames) if tier else 0
        at = device, tier or "none"
        self._frames.labels(*at, "enhanced").inc(enhanced)
        self._frames.labels(*at, "plain").inc(frames - enhanced)
        if not tier:
            return
        self._gain.labels(*at).inc(max(0.0, seen.gained * seen.duration_s))
        self._shown_s.labels(*at).inc(seen.duration_s)
        if enhanced and event.enhance_p50_ms > 0:
            self._frame_s.labels(*at, "50").observe(event.enhance_p50_ms / 1000)
            self._frame_s.labels(*at, "95").observe(event.enhance_p95_ms / 1000)

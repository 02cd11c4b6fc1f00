"""The device profile: what one device measured of itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from abr.formats import Record
from abr.media import Count, Positive

Milliseconds = Annotated[float, Meta(gt=0, le=3_600_000)]


class Device(Record, frozen=True):
    """The machine that measured itself."""

    name: str
    processor: str
    cores: Positive
    memory_bytes: Count
    power: str = "unknown"
    """mains, battery or unknown."""


class Measurement(Record, frozen=True):
    """Speed of one architecture at one input size with one backend: decoded frame in, display frame out."""

    architecture: str
    width_px: Positive
    height_px: Positive
    """Size of the input frame."""
    backend: str
    threads: Positive
    p50_ms: Milliseconds
    p95_ms: Milliseconds
    memory_bytes: Count = 0


class DeviceProfile(Record, frozen=True):
    """All measurements of one device. `weights_hash` tells whether a cached profile still holds."""

    device: Device
    measurements: Annotated[tuple[Measurement, ...], Meta(max_length=512)]
    schema: int = 1
    weights_hash: str = ""

    def best(self, architecture: str, width_px: int, height_px: int) -> Measurement | None:
        """The fastest measurement (by p95) of this architecture at this input size, or None."""
        fitting = [
            m
            for m in self.measurements
            if m.architecture == architecture and (m.width_px, m.height_px) == (width_px, height_px)
        ]
        return min(fitting, key=lambda m: m.p95_ms, default=None)

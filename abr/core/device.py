"""The device profile: what one device measured of itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.title import Count, Positive
from abr.records import Record

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

    @property
    def pixels(self) -> int:
        """Of the input frame."""
        return self.width_px * self.height_px

    def at(self, width_px: int, height_px: int) -> Measurement:
        """What the same would take at another size, by its pixels."""
        times = width_px * height_px / self.pixels
        return msgspec.structs.replace(
            self, width_px=width_px, height_px=height_px, p50_ms=self.p50_ms * times, p95_ms=self.p95_ms * times
        )


class DeviceProfile(Record, frozen=True):
    """All measurements of one device. `weights_hash` tells whether a cached profile still holds."""

    device: Device
    measurements: Annotated[tuple[Measurement, ...], Meta(max_length=512)]
    schema: int = 1
    weights_hash: str = ""

    def best(self, architecture: str, width_px: int, height_px: int) -> Measurement | None:
        """The fastest way (by p95) to run this architecture on frames of this size, or None when it was never measured.

        A size that was not measured is reckoned from the next larger one that was, or else from the largest:
        convolutions cost by the pixel.
        """
        known = [m for m in self.measurements if m.architecture == architecture]
        fitting = [m for m in known if (m.width_px, m.height_px) == (width_px, height_px)]
        if known and not fitting:
            pixels = width_px * height_px
            nearest = min((m.pixels for m in known if m.pixels >= pixels), default=max(m.pixels for m in known))
            fitting = [m.at(width_px, height_px) for m in known if m.pixels == nearest]
        return min(fitting, key=lambda m: m.p95_ms, default=None)

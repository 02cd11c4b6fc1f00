"""The device profile: what one device measured of itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.title import Count, Positive
from abr.records import Record

Milliseconds = Annotated[float, Meta(gt=0, le=3_600_000)]
Watts = Annotated[float, Meta(ge=0, le=100_000)]
RelativeError = Annotated[float, Meta(ge=0, le=1e9)]

MEASUREMENTS_MAX = 1024


class Device(Record, frozen=True):
    """The machine that measured itself."""

    name: str
    processor: str
    cores: Positive
    memory_bytes: Count
    power: str = "unknown"
    """mains, battery or unknown."""


class EnergySource(StrEnum):
    """What a figure of energy was read from."""

    RAPL = "rapl"
    """The processor's own counters (Linux powercap): packages and memory."""
    NVML = "nvml"
    """The counter of an NVIDIA GPU."""
    BATTERY = "battery"
    """The battery's discharge: the whole device."""
    MODEL = "model"
    """Nothing was measured: idle + utilisation × (full - idle), from the time that the processor worked."""

    @property
    def is_estimate(self) -> bool:
        """Whether nothing was measured."""
        return self is EnergySource.MODEL


class Wish(StrEnum):
    """How a viewer wants the device's energy spent."""

    QUALITY = "quality"
    """The best picture, whatever it takes."""
    BALANCED = "balanced"
    SAVER = "saver"
    """Enhance only where much is gained for little."""


class PowerModel(Record, frozen=True):
    """Watts of the device at rest and with all cores at work. Energy above `idle_w` is what work costs."""

    idle_w: Watts
    full_w: Watts
    assumed: bool = True
    """Neither measured nor given by anyone: reckoned from the number of cores."""


class Measurement(Record, frozen=True, omit_defaults=True):
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
    """Peak resident memory of a process that does nothing else; 0: not measured."""
    runs: Count = 1
    """Frames that were timed; 0: predicted from other measurements of the device."""
    fixed_ms: Annotated[float, Meta(ge=0, le=3_600_000)] = 0.0
    """Of p50_ms, what a frame of any size takes."""
    energy_mj: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    """Millijoules of a frame above those of the idle device; 0 without a source."""
    energy_source: EnergySource | None = None

    @property
    def pixels(self) -> int:
        """Of the input frame."""
        return self.width_px * self.height_px

    def at(self, width_px: int, height_px: int) -> Measurement:
        """What the same would take at another size: a fixed part, and the rest by its pixels."""
        fixed = min(1.0, self.fixed_ms / self.p50_ms)
        times = fixed + (1 - fixed) * (width_px * height_px / self.pixels)
        return msgspec.structs.replace(
            self,
            width_px=width_px,
            height_px=height_px,
            p50_ms=self.p50_ms * times,
            p95_ms=self.p95_ms * times,
            energy_mj=self.energy_mj * times,
            runs=0,
        )

    def slowed(self, times: float) -> Measurement:
        """The same on a device that takes `times` as long for it."""
        return msgspec.structs.replace(
            self,
            p50_ms=self.p50_ms * times,
            p95_ms=self.p95_ms * times,
            fixed_ms=self.fixed_ms * times,
        )


class DecodeSpeed(Record, frozen=True):
    """How long one frame of one codec takes to decode in one thread, as players decode segments.

    sample_entry: the codec, by the four characters that titles name it with (`Rendition.sample_entry`).
    """

    sample_entry: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{4}$")]
    width_px: Positive
    height_px: Positive
    p50_ms: Milliseconds
    p95_ms: Milliseconds

    @property
    def pixels(self) -> int:
        """Of the frame."""
        return self.width_px * self.height_px


class LatencyFit(Record, frozen=True):
    """How long each kind of operation takes with one backend and number of threads, fitted to measurements.

    operations_ms: milliseconds for a unit of work of each operation (`enhancers.profiling.latency_fit`).
    p95_times: the 95th percentile over the median. Errors are relative, of p50_ms, each size predicted from the others:
    median and 95th percentile over all cells. flops_error: the same of a model that knows nothing but FLOPs.
    """

    backend: str
    threads: Positive
    cells: Count
    operations_ms: Annotated[dict[str, Annotated[float, Meta(ge=0, le=3_600_000)]], Meta(max_length=16)]
    p95_times: Annotated[float, Meta(ge=1, le=1e6)]
    error_p50: RelativeError
    error_p95: RelativeError
    flops_error_p50: RelativeError
    flops_error_p95: RelativeError


class Soak(Record, frozen=True):
    """A minute of work without a pause: how much of its speed the device loses when it grows warm."""

    architecture: str
    seconds: Annotated[float, Meta(gt=0, le=86_400)]
    thermal_drop: Annotated[float, Meta(ge=0, lt=1)]
    """Share of its speed that is lost by the end; 0: none."""


class DeviceProfile(Record, frozen=True, omit_defaults=True):
    """All measurements of one device. `weights_hash` tells whether a cached profile still holds."""

    device: Device
    measurements: Annotated[tuple[Measurement, ...], Meta(max_length=MEASUREMENTS_MAX)]
    schema: int = 1
    weights_hash: str = ""
    fits: Annotated[tuple[LatencyFit, ...], Meta(max_length=64)] = ()
    power: PowerModel | None = None
    base_memory_bytes: Count = 0
    """Peak of a process that has loaded what runs enhancers, and opened none."""
    soak: Soak | None = None
    wish: Wish = Wish.QUALITY
    decoding: Annotated[tuple[DecodeSpeed, ...], Meta(max_length=64)] = ()
    """Of each codec that the device was seen to decode; none in profiles of devices that were not asked."""
    busy_cores: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Cores that other programs kept busy when it was measured, which made it look slower than it is."""

    def decode_s(self, sample_entry: str, width_px: int, height_px: int) -> float:
        """Seconds (the 95th percentile) that a frame takes to decode; 0 where the profile does not tell of the codec.

        Between sizes that were measured it is reckoned on a line by the pixels; beyond them by the pixel.
        """
        known = sorted((each for each in self.decoding if each.sample_entry == sample_entry), key=lambda d: d.pixels)
        if not known:
            return 0.0
        pixels = width_px * height_px
        below = max((each for each in known if each.pixels <= pixels), key=lambda d: d.pixels, default=None)
        above = min((each for each in known if each.pixels >= pixels), key=lambda d: d.pixels, default=None)
        if below is None or above is None:
            nearest = below or above or known[0]
            decode_ms = nearest.p95_ms * pixels / nearest.pixels
        else:
            share = (pixels - below.pixels) / (above.pixels - below.pixels) if above.pixels > below.pixels else 0.0
            decode_ms = below.p95_ms + share * (above.p95_ms - below.p95_ms)
        return decode_ms / 1000 / (1 - self.soak.thermal_drop if self.soak else 1)

    def best(self, architecture: str, width_px: int, height_px: int) -> Measurement | None:
        """The fastest way (by p95) to run this architecture on frames of this size, or None when it was never measured.

        A size that was not measured is reckoned from the next larger one that was, or else from the largest:
        convolutions cost by the pixel. What was measured goes before what was predicted. A device that was seen to
        grow slow with warmth is taken as warm.
        """
        known = [m for m in self.measurements if m.architecture == architecture]
        known = [m for m in known if m.runs] or known
        fitting = [m for m in known if (m.width_px, m.height_px) == (width_px, height_px)]
        if known and not fitting:
            pixels = width_px * height_px
            nearest = min((m.pixels for m in known if m.pixels >= pixels), default=max(m.pixels for m in known))
            fitting = [m.at(width_px, height_px) for m in known if m.pixels == nearest]
        found = min(fitting, key=lambda m: m.p95_ms, default=None)
        warm = found is not None and self.soak is not None and self.soak.thermal_drop
        return found.slowed(1 / (1 - warm)) if found is not None and warm else found

"""A network trace: throughput and latency over time, repeating from its start, with exact transfer times."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from abr.core.arrays import Floats
from abr.errors import FormatError

THROUGHPUT_MAX_BPS = 1e12
DURATION_MAX_S = 1e7
LATENCY_MAX_S = 600.0
FILE_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Throughput and latency over consecutive spans of time; after the last span it starts again.

    duration_s (N,) > 0, throughput_bps (N,) ≥ 0, latency_s (N,) ≥ 0; float64. Raises FormatError when the arrays
    differ in length, hold no number, a negative or an absurd one, or when no span lets anything through.
    """

    name: str
    duration_s: Floats
    throughput_bps: Floats
    latency_s: Floats
    _ends_s: list[float] = field(init=False, repr=False)
    _ends_bits: list[float] = field(init=False, repr=False)
    _bps: list[float] = field(init=False, repr=False)
    _latency: list[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, most in (
            ("duration_s", DURATION_MAX_S),
            ("throughput_bps", THROUGHPUT_MAX_BPS),
            ("latency_s", LATENCY_MAX_S),
        ):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, values)
            _check(self.name, name, values, len(self.duration_s), most)
        if not (self.duration_s > 0).all():
            raise FormatError(f"Trace {self.name!r}: span {_first(self.duration_s <= 0)} lasts no time.")
        if not (self.throughput_bps > 0).any():
            raise FormatError(f"Trace {self.name!r} lets nothing through: every throughput is zero.")
        object.__setattr__(self, "_ends_s", np.cumsum(self.duration_s).tolist())
        object.__setattr__(self, "_ends_bits", np.cumsum(self.duration_s * self.throughput_bps).tolist())
        object.__setattr__(self, "_bps", self.throughput_bps.tolist())
        object.__setattr__(self, "_latency", self.latency_s.tolist())

    @property
    def length_s(self) -> float:
        """Seconds until it repeats."""
        return self._ends_s[-1]

    @property
    def mean_bps(self) -> float:
        """Mean throughput over its length."""
        return self._ends_bits[-1] / self._ends_s[-1]

    def _span(self, time_s: float) -> int:
        return min(bisect_right(self._ends_s, time_s % self._ends_s[-1]), len(self._ends_s) - 1)

    def latency_at(self, time_s: float) -> float:
        """Seconds from a request at `time_s` ≥ 0 to its first byte."""
        return self._latency[self._span(time_s)]

    def span_at(self, time_s: float) -> tuple[float, float]:
        """Throughput at `time_s` ≥ 0 in bit/s, and the later instant until which it holds."""
        cycles, inside_s = divmod(time_s, self._ends_s[-1])
        span = min(bisect_right(self._ends_s, inside_s), len(self._ends_s) - 1)
        end_s = cycles * self._ends_s[-1] + self._ends_s[span]
        return self._bps[span], end_s if end_s > time_s else math.nextafter(time_s, math.inf)

    def _bits_until(self, time_s: float) -> float:
        cycles, inside_s = divmod(time_s, self._ends_s[-1])
        span = min(bisect_right(self._ends_s, inside_s), len(self._ends_s) - 1)
        missing_bits = (self._ends_s[span] - inside_s) * self._bps[span]
        return cycles * self._ends_bits[-1] + self._ends_bits[span] - missing_bits

    def bytes_between(self, start_s: float, end_s: float) -> float:
        """Bytes that get through between two instants."""
        return (self._bits_until(end_s) - self._bits_until(start_s)) / 8

    def finish_s(self, start_s: float, size_bytes: float) -> float:
        """The instant at which `size_bytes` that begin to flow at `start_s` have got through. Latency not included."""
        if size_bytes <= 0:
            return start_s
        ends_s, ends_bits = self._ends_s, self._ends_bits
        cycles, target_bits = divmod(self._bits_until(start_s) + size_bytes * 8, ends_bits[-1])
        if target_bits <= 0:
            cycles, target_bits = cycles - 1, ends_bits[-1]
        span = min(bisect_left(ends_bits, target_bits), len(ends_s) - 1)
        inside_s = ends_s[span] - (ends_bits[span] - target_bits) / self._bps[span]
        return max(start_s, cycles * ends_s[-1] + inside_s)

    def fetch_s(self, start_s: float, size_bytes: float) -> float:
        """When a download requested at `start_s` ends: latency, then the bytes."""
        return self.finish_s(start_s + self.latency_at(start_s), size_bytes)

    def scaled(self, factor: float, name: str | None = None) -> Trace:
        """The same trace with every throughput multiplied by `factor` > 0."""
        return Trace(
            name=name or f"{self.name}×{factor:g}",
            duration_s=self.duration_s,
            throughput_bps=self.throughput_bps * factor,
            latency_s=self.latency_s,
        )

    def begun_at(self, start_s: float) -> Trace:
        """The same trace from `start_s` (≥ 0) on; what lies before comes when it repeats."""
        inside_s = start_s % self.length_s
        span = self._span(inside_s)
        left_s = self._ends_s[span] - inside_s
        order = np.r_[span : len(self._ends_s), : span + 1]
        duration_s = self.duration_s[order]
        duration_s[0], duration_s[-1] = left_s, self.duration_s[span] - left_s
        lasting = duration_s > 0
        return Trace(
            name=f"{self.name}@{start_s:g}s",
            duration_s=duration_s[lasting],
            throughput_bps=self.throughput_bps[order][lasting],
            latency_s=self.latency_s[order][lasting],
        )


def constant(throughput_bps: float, latency_s: float = 0.0, name: str = "constant") -> Trace:
    """A trace that never changes."""
    return make(name, [(1.0, throughput_bps, latency_s)])


def make(name: str, spans: Sequence[tuple[float, float, float]]) -> Trace:
    """A trace from (duration_s, throughput_bps, latency_s) triples."""
    if not spans:
        raise FormatError(f"Trace {name!r} is empty.")
    columns = np.asarray(spans, dtype=np.float64).T
    return Trace(name=name, duration_s=columns[0], throughput_bps=columns[1], latency_s=columns[2])


def _check(trace: str, name: str, values: Floats, length: int, most: float) -> None:
    if values.ndim != 1 or len(values) != length or length == 0:
        raise FormatError(f"Trace {trace!r}: {name} has shape {values.shape}; expected one number for each span.")
    bad = ~(np.isfinite(values) & (values >= 0) & (values <= most))
    if bad.any():
        raise FormatError(
            f"Trace {trace!r}: span {_first(bad)} has {name} {values[_first(bad) - 1]}; expected 0 to {most:g}."
        )


def _first(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.argmax(mask)) + 1

"""A soak: which work is done, and what a device that grows slow is said to lose."""

from __future__ import annotations

import pytest

from abr.core.device import Measurement
from enhancers.profiling.soak import choose_work, frame_times, thermal_drop


def took(name: str, p95_ms: float, threads: int = 2, runs: int = 9) -> Measurement:
    return Measurement(
        architecture=name,
        width_px=320,
        height_px=180,
        backend="openvino-int8",
        threads=threads,
        p50_ms=p95_ms / 2,
        p95_ms=p95_ms,
        runs=runs,
    )


class Device:
    """Lifts a frame in 20 ms when cold, in 25 ms once 30 s have passed."""

    now_s = 0.0

    def lift(self) -> None:
        self.now_s += 0.020 if self.now_s < 30 else 0.025


def test_the_speed_that_a_warm_device_loses_is_told() -> None:
    device = Device()
    times = frame_times(device.lift, 60.0, lambda *_: None, clock=lambda: device.now_s)
    assert times[-1][0] == pytest.approx(60, abs=0.03)
    assert thermal_drop(times) == pytest.approx(0.2, abs=0.01)


def test_a_device_that_stays_cool_loses_nothing() -> None:
    assert thermal_drop([(0.02 * i, 0.02) for i in range(1, 100)]) == 0.0
    assert thermal_drop([(5.0, 5.0)]) == 0.0


def test_the_costliest_network_that_keeps_up_is_run() -> None:
    light, heavy, slow = took("plain-m2c32x4", 9.0), took("plain-m5c32x4", 30.0), took("plain-m10c32x4", 70.0)
    others = took("upscale-x4", 39.0), took("plain-m10c32x4r4", 39.0), took("plain-m10c32x4", 38.0, threads=1)
    guessed = took("plain-m10c32x4", 38.0, runs=0)
    assert choose_work([light, heavy, slow, guessed, *others]) == heavy
    assert choose_work([slow, took("plain-m5c32x4", 60.0)]).architecture == "plain-m5c32x4"  # type: ignore[union-attr]
    assert choose_work([guessed]) is None

"""What a device profile says of sizes that were measured, and of those that were not."""

from __future__ import annotations

import pytest

from abr.core.device import Device, DeviceProfile, Measurement

DEVICE = Device(name="here", processor="test", cores=2, memory_bytes=0)


def took(width_px: int, height_px: int, p95_ms: float, threads: int = 1) -> Measurement:
    return Measurement(
        architecture="it",
        width_px=width_px,
        height_px=height_px,
        backend="test",
        threads=threads,
        p50_ms=p95_ms / 2,
        p95_ms=p95_ms,
    )


PROFILE = DeviceProfile(
    device=DEVICE, measurements=(took(320, 180, 9.0), took(320, 180, 6.0, threads=2), took(480, 270, 20.0))
)


@pytest.mark.parametrize(
    ("size_px", "p95_ms"),
    [
        ((320, 180), 6.0),
        ((180, 320), 6.0),  # a phone held upright
        ((240, 180), 4.5),
        ((432, 180), 12.0),
        ((960, 270), 40.0),
    ],
)
def test_sizes_cost_by_the_pixel_unless_they_were_measured(size_px: tuple[int, int], p95_ms: float) -> None:
    best = PROFILE.best("it", *size_px)
    assert best is not None
    assert (best.width_px, best.height_px) == size_px
    assert best.p95_ms == pytest.approx(p95_ms)
    assert best.threads == (2 if p95_ms < 10 else 1)


def test_a_network_that_was_never_measured_has_no_speed() -> None:
    assert PROFILE.best("another", 320, 180) is None

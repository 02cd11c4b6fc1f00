"""What a device profile says of sizes that were measured, and of those that were not."""

from __future__ import annotations

import pytest
from msgspec import structs

from abr.core.device import DecodeSpeed, Device, DeviceProfile, Measurement, Soak
from abr.records import dumps, loads

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


def test_of_a_frame_only_what_grows_with_it_grows() -> None:
    """4.5 ms, of which 1.5 whatever the size: half the pixels take 3 ms."""
    fixed = structs.replace(took(320, 180, 9.0), fixed_ms=1.5, energy_mj=12.0)
    best = DeviceProfile(device=DEVICE, measurements=(fixed,)).best("it", 160, 180)
    assert best is not None
    assert (best.p50_ms, best.p95_ms, best.energy_mj, best.runs) == pytest.approx((3.0, 6.0, 8.0, 0))


def test_what_was_measured_goes_before_a_faster_prediction() -> None:
    guessed = structs.replace(took(320, 180, 1.0), backend="guessed", runs=0)
    assert structs.replace(PROFILE, measurements=(*PROFILE.measurements, guessed)).best("it", 320, 180) == took(
        320, 180, 6.0, threads=2
    )
    alone = DeviceProfile(device=DEVICE, measurements=(guessed,)).best("it", 320, 180)
    assert alone == guessed, "better than nothing"


def test_a_device_that_grows_slow_with_warmth_is_priced_warm() -> None:
    warm = structs.replace(PROFILE, soak=Soak(architecture="it", seconds=60, thermal_drop=0.25))
    best = warm.best("it", 320, 180)
    assert best is not None and best.p95_ms == pytest.approx(8.0)


def test_a_profile_of_an_earlier_version_reads_and_prices_as_it_did() -> None:
    text = """{"device": {"name": "a", "processor": "b", "cores": 2, "memory_bytes": 1, "power": "unknown"},
        "measurements": [{"architecture": "it", "width_px": 320, "height_px": 180, "backend": "test", "threads": 1,
        "p50_ms": 4.5, "p95_ms": 9.0, "memory_bytes": 7}], "schema": 1, "weights_hash": "old"}"""
    old = loads(text, DeviceProfile, what="profile")
    best = old.best("it", 480, 270)
    assert best is not None and best.p95_ms == 9.0 * (480 * 270 / (320 * 180))
    assert b"runs" not in dumps(old), "and a server of that version reads what a browser measures"


def decodes(sample_entry: str, width_px: int, height_px: int, p95_ms: float) -> DecodeSpeed:
    return DecodeSpeed(
        sample_entry=sample_entry, width_px=width_px, height_px=height_px, p50_ms=p95_ms / 2, p95_ms=p95_ms
    )


DECODER = structs.replace(
    PROFILE,
    decoding=(decodes("av01", 640, 360, 4.0), decodes("av01", 1280, 720, 10.0), decodes("avc3", 640, 360, 1.0)),
)


@pytest.mark.parametrize(
    ("codec", "size_px", "frame_ms"),
    [
        ("av01", (640, 360), 4.0),
        ("av01", (1280, 720), 10.0),
        ("av01", (1280, 450), 4.0 + 6.0 * 1.5 / 3),  # on the line between both
        ("av01", (320, 180), 1.0),
        ("av01", (1920, 1080), 22.5),
        ("avc3", (1280, 720), 4.0),
        ("hev1", (640, 360), 0.0),  # not told
    ],
)
def test_each_codec_takes_its_own_time_to_decode(codec: str, size_px: tuple[int, int], frame_ms: float) -> None:
    assert DECODER.decode_s(codec, *size_px) * 1000 == pytest.approx(frame_ms)
    warm = structs.replace(DECODER, soak=Soak(architecture="it", seconds=60, thermal_drop=0.5))
    assert warm.decode_s(codec, *size_px) * 1000 == pytest.approx(2 * frame_ms)


def test_profiles_from_before_decoding_was_timed_load_and_are_written_as_they_were() -> None:
    written = dumps(PROFILE)
    assert b"decoding" not in written
    assert loads(written, DeviceProfile, what="profile") == PROFILE
    assert loads(dumps(DECODER), DeviceProfile, what="profile") == DECODER

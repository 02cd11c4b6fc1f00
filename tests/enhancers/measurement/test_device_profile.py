"""`toprung profile`: what it measures, how its file is kept, and that prices can be read from it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import structs
from networks import random_weights

from abr.core.device import Device, DeviceProfile, EnergySource, Measurement, PowerModel
from abr.records import dumps, load, loads
from enhancers.cli.profile import profile
from enhancers.measurement import device_profile as profiling
from enhancers.networks.catalog import TIER_DEPTHS, architecture
from enhancers.networks.plain import parse
from enhancers.profiling import schedule
from enhancers.profiling.measuring import Effort, measure_enhancer

QUICK = profiling.ProfileRequest(quick=True)
SHORT = Effort(runs=5, seconds=0.2)


def quietly(_what: str, _done: float) -> None: ...


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "QUICK_RUNS", 3)
    monkeypatch.setattr(profiling, "QUICK_CELL_S", 0.02)
    monkeypatch.setattr(schedule, "thread_counts", lambda: (1,))


def test_a_quick_profile_knows_every_tier_at_the_usual_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "SIZES_PX", {scale: profiling.SIZES_PX[scale] for scale in (4, 2)})
    path = tmp_path / "deep" / "device.json"
    ended = CliRunner().invoke(profile, ["--quick", "--output", str(path), "--json"], catch_exceptions=False)
    found = loads(ended.stdout, DeviceProfile, what="stdout")
    assert found == load(path, DeviceProfile)
    for scale, size in ((4, (320, 180)), (2, (640, 360))):
        for tier in TIER_DEPTHS:
            best = found.best(str(architecture(scale, tier)), *size)
            assert best is not None
            assert 0 < best.p50_ms <= best.p95_ms
        for name in (f"upscale-x{scale}", f"carry-x{scale}"):
            assert found.best(name, *size) is not None, "frame plans cannot be priced"
    measured = [each for each in found.measurements if "plain" in each.architecture and each.runs]
    assert measured
    assert all(each.memory_bytes > found.base_memory_bytes > 1 << 24 for each in measured)
    assert all(each.energy_source and each.energy_mj > 0 for each in found.measurements if each.runs)
    assert found.device.cores >= 1
    assert found.device.memory_bytes > 1 << 28


def test_a_profile_in_the_cache_is_used_while_the_weights_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(profiling, "SIZES_PX", {4: ((64, 36),)})
    first, found = profiling.profile_device(None, QUICK, quietly)
    assert first.is_relative_to(tmp_path / "toprung")
    stamp = first.stat().st_mtime_ns
    assert "was measured on" not in capsys.readouterr().err
    _, again = profiling.profile_device(None, QUICK, quietly, tell=True)
    assert again == found and "was measured on 2" in capsys.readouterr().err
    assert first.stat().st_mtime_ns == stamp
    profiling.profile_device(None, replace(QUICK, force=True), quietly)
    assert first.stat().st_mtime_ns != stamp
    monkeypatch.setattr(profiling, "weights_hash", lambda: "other")
    other, _ = profiling.profile_device(None, QUICK, quietly)
    assert other != first


def test_a_profile_of_a_busy_machine_holds_until_the_machine_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(profiling, "SIZES_PX", {4: ((64, 36),)})
    monkeypatch.setattr(profiling, "busy_cores", lambda: 1.62)
    path, found = profiling.profile_device(None, QUICK, quietly)
    assert "keep 1.6 of" in capsys.readouterr().err and found.busy_cores == 1.6
    assert profiling.profile_device(None, QUICK, quietly) == (path, found)
    assert not capsys.readouterr().err, "still as busy: measured once"
    monkeypatch.setattr(profiling, "busy_cores", lambda: 0.2)
    _, rested = profiling.profile_device(None, QUICK, quietly)
    assert "Measuring this device" in capsys.readouterr().err and rested.busy_cores == 0.2
    monkeypatch.setattr(profiling, "busy_cores", lambda: pytest.fail("a profile of a quiet machine is not doubted"))
    assert profiling.profile_device(None, QUICK, quietly) == (path, rested)


def test_a_profile_of_before_decoding_was_timed_is_completed_and_kept_as_it_is_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "weights_hash", lambda: "")
    path = tmp_path / "device.json"
    path.write_bytes(dumps(DEVICE_PROFILE))
    _, found = profiling.profile_device(path, QUICK, quietly)
    assert structs.replace(found, decoding=()) == DEVICE_PROFILE
    assert {each.sample_entry for each in found.decoding} == {"avc3", "hev1", "av01"}
    assert load(path, DeviceProfile) == found
    assert "decoding av1" in profiling.as_text(found)


def test_a_damaged_cache_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(profiling, "SIZES_PX", {4: ((64, 36),)})
    path, _ = profiling.profile_device(None, QUICK, quietly)
    path.write_text(json.dumps({"device": "a toaster"}))
    _, found = profiling.profile_device(None, QUICK, quietly)
    assert load(path, DeviceProfile) == found


def test_a_deeper_network_takes_longer() -> None:
    """By the quickest of several turns: what else runs on the machine only ever makes one slower."""
    quickest_ms = {"plain-m1c32x4": math.inf, "plain-m24c32x4": math.inf}
    for _ in range(5):
        for name, so_far_ms in quickest_ms.items():
            found = measure_enhancer(random_weights(parse(name)), (160, 90), "openvino-int8", 1, SHORT)
            quickest_ms[name] = min(so_far_ms, found.p50_ms)
    shallow_ms, deep_ms = quickest_ms.values()
    assert deep_ms > 1.5 * shallow_ms


def test_a_profile_with_estimated_energy_says_so_and_one_of_given_watts_says_whose_they_are() -> None:
    device = DEVICE_PROFILE
    text = profiling.as_text(device)
    assert "~" in text and "estimate" in text and "assumed" in text
    given = structs.replace(device, power=PowerModel(idle_w=2, full_w=20, assumed=False))
    assert "as given" in profiling.as_text(given)
    measured = [structs.replace(each, energy_source=EnergySource.RAPL) for each in device.measurements]
    read = profiling.as_text(structs.replace(device, measurements=tuple(measured)))
    assert "~" not in read and "estimate" not in read and "measured (rapl)" in read


def test_watts_are_checked_before_anything_is_measured() -> None:
    for options in (["--idle-w", "3"], ["--full-w", "3", "--idle-w", "3"]):
        ended = CliRunner().invoke(profile, options)
        assert ended.exit_code == 2 and "idle-w" in ended.output


DEVICE_PROFILE = DeviceProfile(
    device=Device(name="a", processor="b", cores=2, memory_bytes=1),
    measurements=(
        Measurement(
            architecture="plain-m2c32x4",
            width_px=320,
            height_px=180,
            backend="openvino-int8",
            threads=1,
            p50_ms=8.0,
            p95_ms=9.0,
            runs=20,
            energy_mj=21.0,
            energy_source=EnergySource.MODEL,
        ),
    ),
    power=PowerModel(idle_w=1, full_w=9),
)

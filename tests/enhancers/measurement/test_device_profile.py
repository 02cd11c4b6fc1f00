"""`toprung profile`: what it measures, how its file is kept, and that prices can be read from it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from networks import random_weights

from abr.core.device import DeviceProfile
from abr.records import load, loads
from enhancers.cli.train import profile
from enhancers.measurement import device_profile as profiling
from enhancers.networks.catalog import TIER_DEPTHS, architecture
from enhancers.networks.plain import parse
from enhancers.runtime.backends import runnable


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "_QUICK_RUNS", 3)


def test_a_quick_profile_knows_every_tier_at_the_usual_sizes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "device.json"
    ended = CliRunner().invoke(profile, ["--quick", "--output", str(path), "--json"], catch_exceptions=False)
    found = loads(ended.stdout, DeviceProfile, what="stdout")
    assert found == load(path, DeviceProfile)
    for scale, size in ((4, (320, 180)), (3, (426, 240)), (2, (640, 360))):
        for tier in TIER_DEPTHS:
            best = found.best(str(architecture(scale, tier)), *size)
            assert best is not None
            assert 0 < best.p50_ms <= best.p95_ms
        for name in (f"upscale-x{scale}", f"carry-x{scale}"):
            assert found.best(name, *size) is not None, "frame plans cannot be priced"
    assert found.device.cores >= 1
    assert found.device.memory_bytes > 1 << 28


def test_a_profile_in_the_cache_is_used_while_the_weights_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(profiling, "_SIZES_PX", {4: ((64, 36),)})
    first, found = profiling.profile_device(None, quick=True, force=False, progress=lambda *_: None)
    assert first.is_relative_to(tmp_path / "toprung")
    stamp = first.stat().st_mtime_ns
    assert "was measured on" not in capsys.readouterr().err
    _, again = profiling.profile_device(None, quick=True, force=False, progress=lambda *_: None, tell=True)
    assert again == found and "was measured on 2" in capsys.readouterr().err
    assert first.stat().st_mtime_ns == stamp
    profiling.profile_device(None, quick=True, force=True, progress=lambda *_: None)
    assert first.stat().st_mtime_ns != stamp
    monkeypatch.setattr(profiling, "weights_hash", lambda: "other")
    other, _ = profiling.profile_device(None, quick=True, force=False, progress=lambda *_: None)
    assert other != first


def test_a_damaged_cache_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(profiling, "_SIZES_PX", {4: ((64, 36),)})
    path, _ = profiling.profile_device(None, quick=True, force=False, progress=lambda *_: None)
    path.write_text(json.dumps({"device": "a toaster"}))
    _, found = profiling.profile_device(None, quick=True, force=False, progress=lambda *_: None)
    assert load(path, DeviceProfile) == found


@pytest.mark.parametrize("backend", runnable())
def test_every_backend_is_measured_as_it_is_played(backend: str) -> None:
    weights = random_weights(parse("plain-m2c16x4"))
    found = profiling.measure_enhancer(weights, 4, (64, 36), backend, 1, 5)
    assert (found.architecture, found.backend, found.threads) == ("plain-m2c16x4", backend, 1)
    assert 0 < found.p50_ms <= found.p95_ms


def test_a_deeper_network_takes_longer() -> None:
    """By the quickest of several turns: what else runs on the machine only ever makes one slower."""
    quickest_ms = {"plain-m1c32x4": math.inf, "plain-m24c32x4": math.inf}
    for _ in range(5):
        for name, so_far_ms in quickest_ms.items():
            found = profiling.measure_enhancer(random_weights(parse(name)), 4, (160, 90), "openvino-int8", 1, 5)
            quickest_ms[name] = min(so_far_ms, found.p50_ms)
    shallow_ms, deep_ms = quickest_ms.values()
    assert deep_ms > 1.5 * shallow_ms

"""The measuring process: each job in a child of its own, whose end costs nothing but the job."""

from __future__ import annotations

import pytest
from msgspec import structs

from abr.core.device import EnergySource, PowerModel
from abr.core.enhancement import Tier
from enhancers.profiling.worker import Job, MeasuringProcess
from enhancers.runtime.backends import runnable

POWER = PowerModel(idle_w=1.0, full_w=9.0)
JOB = Job(scale=4, width_px=64, height_px=36, backend="", threads=1, runs=4, seconds=1, tier=Tier.LOW)


@pytest.mark.parametrize("backend", runnable())
def test_every_backend_is_measured_as_it_is_played(backend: str) -> None:
    with MeasuringProcess(backend, POWER) as worker:
        base_bytes = worker.base_memory_bytes()
        answer = worker.measure(structs.replace(JOB, backend=backend))
    (found,) = answer.measurements
    assert (found.architecture, found.backend, found.threads) == ("plain-m2c32x4", backend, 1)
    assert 0 < found.p50_ms <= found.p95_ms and found.runs == 4
    assert found.memory_bytes > base_bytes > 1 << 24
    assert found.energy_source in EnergySource


def test_a_job_that_cannot_be_done_says_why_and_the_next_is_measured() -> None:
    with MeasuringProcess("openvino-int8", POWER) as worker:
        worker.base_memory_bytes()
        refused = worker.measure(structs.replace(JOB, backend="openvino-int8", tier=None, network=b"not ONNX"))
        unknown = worker.measure(structs.replace(JOB, backend="abacus"))
        fine = worker.measure(structs.replace(JOB, backend="openvino-int8"))
    assert "ONNX" in refused.failure and not refused.measurements
    assert "abacus" in unknown.failure
    assert fine.measurements and not fine.failure


def test_a_large_network_leaves_nothing_in_the_memory_of_the_next() -> None:
    large = Job(
        scale=1.5, width_px=1280, height_px=720, backend="openvino-fp32", threads=1, runs=1, seconds=0.01, tier=Tier.LOW
    )
    small = structs.replace(JOB, backend="openvino-fp32")
    with MeasuringProcess("openvino-fp32", POWER) as worker:
        worker.base_memory_bytes()
        before, big, after = (worker.measure(job).peak_bytes for job in (small, large, small))
    assert big > 1.5 * before
    assert after < 1.1 * before

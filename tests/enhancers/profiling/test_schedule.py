"""What is measured in the time there is, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from abr.core.device import DeviceProfile, Measurement
from abr.core.energy import assumed_power
from enhancers.profiling import schedule as scheduling
from enhancers.profiling.latency_fit import work_of
from enhancers.profiling.machine import this_device
from enhancers.profiling.schedule import Plan, Schedule
from enhancers.profiling.worker import Answer, Job

BACKENDS = ("openvino-int8", "near", "far", "broken")
TIMES_AS_LONG = {"openvino-int8": 1.0, "near": 0.8, "far": 6.0}
SIZES = {4: ((320, 180), (480, 270)), 2: ((640, 360), (960, 540))}


class Machine:
    """Measures by arithmetic: a second a job, and milliseconds that operations of known cost add up to."""

    now_s = 0.0
    jobs: list[Job]

    def __init__(self) -> None:
        self.jobs = []

    def measure(self, job: Job) -> Answer:
        self.now_s += 1.0
        self.jobs.append(job)
        if job.backend == "broken":
            return Answer(failure="no such thing here")
        return Answer(measurements=tuple(self._times(job)))

    def _times(self, job: Job) -> Iterator[Measurement]:
        for name in scheduling._names(job):
            units = work_of(name, (job.width_px, job.height_px))
            ms = (
                TIMES_AS_LONG[job.backend] * (1 + 5 * units.get("convolution", 0.0) + 2 * units["scaled"]) / job.threads
            )
            yield Measurement(
                architecture=name,
                width_px=job.width_px,
                height_px=job.height_px,
                backend=job.backend,
                threads=job.threads,
                p50_ms=ms,
                p95_ms=1.1 * ms,
                runs=9,
            )


def profiled(monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[DeviceProfile, Machine]:
    machine = Machine()
    monkeypatch.setattr(scheduling, "thread_counts", lambda: (1, 2))
    monkeypatch.setattr(Schedule, "_worker", lambda _self, _backend: machine)
    plan = Plan(sizes=SIZES, backends=BACKENDS, seconds=seconds, runs=9, cell_seconds=0.1)
    schedule = Schedule(plan=plan, power=assumed_power(2), progress=lambda *_: None, clock=lambda: machine.now_s)
    fits = schedule.measure()
    return DeviceProfile(device=this_device(), measurements=tuple(schedule.found), fits=fits), machine


def test_with_time_enough_all_is_measured_but_what_is_much_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    profile, machine = profiled(monkeypatch, 1000.0)
    measured = [each for each in profile.measurements if each.runs]
    counts = {backend: sum(each.backend == backend for each in measured) for backend in BACKENDS}
    assert counts == {"openvino-int8": 2 * 2 * 2 * (4 + 2), "near": 2 * 2 * 2 * 4, "far": 2, "broken": 0}
    assert len(machine.jobs) == len(set(machine.jobs)), "nothing twice"
    told = [each for each in profile.measurements if not each.runs]
    assert {each.backend for each in told} == {"far"}
    assert all(each.p50_ms == pytest.approx(6 * at_usual(profile, each).p50_ms, rel=0.05) for each in told)


def at_usual(profile: DeviceProfile, like: Measurement) -> Measurement:
    key = like.architecture, like.width_px, like.height_px, like.threads, "openvino-int8"
    (found,) = [
        each
        for each in profile.measurements
        if (each.architecture, each.width_px, each.height_px, each.threads, each.backend) == key
    ]
    return found


@pytest.mark.parametrize("seconds", [1.0, 18.0, 40.0])
def test_when_time_is_up_the_rest_is_predicted_from_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    profile, machine = profiled(monkeypatch, seconds)
    whole, _ = profiled(monkeypatch, 1000.0)
    assert machine.now_s == max(seconds, 12.0), "what predictions need is measured in any case"
    for scale, sizes in SIZES.items():
        for size_px in sizes:
            for name in (f"plain-m5c32x{scale}{'d2' if scale == 2 else ''}", f"carry-x{scale}", f"upscale-x{scale}"):
                told, true = profile.best(name, *size_px), whole.best(name, *size_px)
                assert told is not None and true is not None
                assert told.p50_ms == pytest.approx(true.p50_ms, rel=0.3)
                assert told.memory_bytes == 0 and told.energy_source is None


def test_the_fixed_part_of_a_frame_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    profile, _ = profiled(monkeypatch, 1000.0)
    one_thread = [m for m in profile.measurements if m.runs and (m.backend, m.threads) == ("openvino-int8", 1)]
    assert all(each.fixed_ms == pytest.approx(1.0, abs=0.05) for each in one_thread)

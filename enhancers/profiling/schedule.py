"""What is measured of a device in the time there is: first what players use, then what may be quicker still.

The usual backend is measured in full. Every other one is tried on two networks; those that come near it there are
measured in full too, the most promising first. What is left when the time is up is predicted, and says so (`runs` 0).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec
import numpy as np

from abr.core.device import LatencyFit, Measurement, PowerModel
from abr.core.enhancement import Tier
from abr.progress import ShareListener
from enhancers.networks import catalog
from enhancers.profiling.latency_fit import fit_latency, predict
from enhancers.profiling.machine import thread_counts
from enhancers.profiling.worker import Job, MeasuringProcess
from enhancers.runtime.loader import DEFAULT_BACKEND

Sizes = dict[float, tuple[tuple[int, int], ...]]
"""Input sizes by network scale."""

TIERS = (*catalog.TIER_DEPTHS, Tier.REUSE)
_NEAR = 1.5
"""A backend that takes this many times as long as the usual one on what it was tried on is not measured further."""
_STEP = "Measuring enhancers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """seconds: for all of it. runs and cell_seconds: of one way to run one network at one size."""

    sizes: Sizes
    backends: Sequence[str]
    seconds: float
    runs: int
    cell_seconds: float


@dataclass(slots=True, kw_only=True)
class Schedule:
    """Measures by a plan. Results gather in `found`."""

    plan: Plan
    power: PowerModel
    progress: ShareListener
    clock: Callable[[], float] = time.monotonic
    found: list[Measurement] = field(default_factory=list)
    base_memory_bytes: int = 0
    _tried: set[tuple[str, Job]] = field(default_factory=set)
    _until_s: float = 0.0

    def measure(self) -> tuple[LatencyFit, ...]:
        """All that there is time for, and predictions of the rest. Returns the fits that they are made by."""
        self._until_s = self.clock() + self.plan.seconds
        with ExitStack() as stack:
            workers: dict[str, MeasuringProcess] = {}
            for backend in self.plan.backends:
                workers[backend] = stack.enter_context(MeasuringProcess(backend, self.power))
                base = workers[backend].base_memory_bytes()
                if backend == DEFAULT_BACKEND:
                    self.base_memory_bytes = base
                    self._run(workers[backend], [*self._jobs(backend), *self._plan_jobs()])
                else:
                    self._run(workers[backend], list(self._trials(backend)))
            for backend in sorted(set(workers) - {DEFAULT_BACKEND}, key=self._times_as_long):
                if self._times_as_long(backend) <= _NEAR:
                    self._run(workers[backend], list(self._jobs(backend)))
        fits = fit_latency(self.found)
        self.found = [with_fixed_part(each, fits) for each in self.found]
        self.found += self._predictions(fits)
        return fits

    def _run(self, worker: MeasuringProcess, jobs: Sequence[Job]) -> None:
        for job in jobs:
            left_s = self._until_s - self.clock()
            if left_s <= 0:
                return
            self.progress(_STEP, 1 - left_s / self.plan.seconds)
            if (job.backend, job) not in self._tried:
                self._tried.add((job.backend, job))
                self.found += worker.measure(job).measurements

    def _jobs(self, backend: str) -> Iterator[Job]:
        for scale, sizes in self.plan.sizes.items():
            for size_px in sizes:
                for tier in TIERS:
                    yield from self._on_threads(scale, size_px, backend, tier)

    def _plan_jobs(self) -> Iterator[Job]:
        for scale, sizes in self.plan.sizes.items():
            for size_px in sizes:
                yield from self._on_threads(scale, size_px, DEFAULT_BACKEND, None)

    def _trials(self, backend: str) -> Iterator[Job]:
        """The lightest network of two scales: one that works at its input's size, one at half of it."""
        scales = list(self.plan.sizes)
        for scale in {scales[0], scales[len(scales) // 2]}:
            yield from self._on_threads(scale, self.plan.sizes[scale][0], backend, Tier.LOW)

    def _on_threads(self, scale: float, size_px: tuple[int, int], backend: str, tier: Tier | None) -> Iterator[Job]:
        for threads in thread_counts():
            yield Job(
                scale=scale,
                width_px=size_px[0],
                height_px=size_px[1],
                backend=backend,
                threads=threads,
                runs=self.plan.runs,
                seconds=self.plan.cell_seconds,
                tier=tier,
            )

    def _times_as_long(self, backend: str, threads: int | None = None) -> float:
        """By the p50 of what both it and the usual backend were measured on; infinite when that is nothing."""
        usual = {_cell(each): each.p50_ms for each in self.found if each.backend == DEFAULT_BACKEND}
        times = [
            each.p50_ms / usual[_cell(each)]
            for each in self.found
            if each.backend == backend and _cell(each) in usual and threads in (None, each.threads)
        ]
        return float(np.exp(np.log(times).mean())) if times else float("inf")

    def _predictions(self, fits: Sequence[LatencyFit]) -> Iterator[Measurement]:
        """Of every way that there was no time for: by its own fit, or by the usual backend's times."""
        known = {(each.backend, *_cell(each)) for each in self.found}
        fit_of = {(fit.backend, fit.threads): fit for fit in fits}
        for backend in self.plan.backends:
            for job in self._jobs(backend):
                architecture = str(catalog.architecture(job.scale, job.tier or Tier.LOW))
                size_px = (job.width_px, job.height_px)
                if (backend, architecture, *size_px, job.threads) in known:
                    continue
                own, usual = (fit_of.get((each, job.threads)) for each in (backend, DEFAULT_BACKEND))
                times = 1.0 if own else self._times_as_long(backend, job.threads)
                if (fit := own or usual) is not None and np.isfinite(times):
                    told = predict(fit, architecture, size_px).slowed(times)
                    yield _rounded(msgspec.structs.replace(told, backend=backend))


def with_fixed_part(measured: Measurement, fits: Sequence[LatencyFit]) -> Measurement:
    """With what a frame of any size takes, where a fit tells."""
    for fit in fits:
        if (fit.backend, fit.threads) == (measured.backend, measured.threads):
            fixed_ms = min(measured.p50_ms, round(fit.operations_ms.get("frame", 0.0), 3))
            return msgspec.structs.replace(measured, fixed_ms=fixed_ms)
    return measured


def _cell(measured: Measurement) -> tuple[str, int, int, int]:
    return measured.architecture, measured.width_px, measured.height_px, measured.threads


def _rounded(measured: Measurement) -> Measurement:
    p50_ms, p95_ms = max(0.001, round(measured.p50_ms, 3)), max(0.001, round(measured.p95_ms, 3))
    return msgspec.structs.replace(measured, p50_ms=p50_ms, p95_ms=p95_ms, fixed_ms=round(measured.fixed_ms, 3))

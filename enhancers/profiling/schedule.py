"""What is measured of a device in the time there is: first what players use, then what may be quicker still.

The usual backend is measured in full. Every other one is tried on two networks; those that come near it there are
measured in full too, the most promising first. What is left when the time is up is predicted, and says so (`runs` 0).
What predictions need is measured on the busiest machine too, and may take longer there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product

import msgspec
import numpy as np

from abr.core.device import LatencyFit, Measurement, PowerModel
from abr.core.enhancement import Tier
from abr.core.frame_plan import carry_name, upscale_name
from abr.progress import ShareListener
from enhancers.networks import catalog
from enhancers.profiling.latency_fit import fit_latency, predict
from enhancers.profiling.machine import thread_counts
from enhancers.profiling.worker import Job, MeasuringProcess
from enhancers.runtime.loader import DEFAULT_BACKEND

Sizes = dict[float, tuple[tuple[int, int], ...]]
"""Input sizes by network scale."""

_ENDS, _BETWEEN = (Tier.LOW, Tier.HIGH), (Tier.MEDIUM, Tier.REUSE)
"""Tiers whose times tell most of those between them; these come last."""
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
    _done: set[Job] = field(default_factory=set)
    _workers: dict[str, MeasuringProcess] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _until_s: float = 0.0

    def measure(self) -> tuple[LatencyFit, ...]:
        """All that there is time for, and predictions of the rest. Returns the fits that they are made by."""
        self._until_s = self.clock() + self.plan.seconds
        all_cores, fewer = thread_counts()[-1:], thread_counts()[:-1]
        others = [backend for backend in self.plan.backends if backend != DEFAULT_BACKEND]
        with self._stack:
            self._run(self._jobs(DEFAULT_BACKEND, (*_ENDS, None), all_cores), whatever_it_takes=True)
            for backend in others:
                self._run(self._trials(backend, all_cores))
            self._run(self._jobs(DEFAULT_BACKEND, (*_ENDS, None), fewer))
            self._run(self._jobs(DEFAULT_BACKEND, _BETWEEN, thread_counts()))
            for backend in sorted(others, key=self._times_as_long):
                if self._times_as_long(backend) <= _NEAR:
                    self._run(self._jobs(backend, (*_ENDS, *_BETWEEN), thread_counts()))
        fits = fit_latency(self.found)
        self.found = [with_fixed_part(each, fits) for each in self.found]
        self.found += self._predictions(fits)
        return fits

    def _run(self, jobs: Iterable[Job], *, whatever_it_takes: bool = False) -> None:
        for job in jobs:
            left_s = self._until_s - self.clock()
            if left_s <= 0 and not whatever_it_takes:
                return
            self.progress(_STEP, min(1.0, 1 - left_s / self.plan.seconds))
            if job not in self._done:
                self._done.add(job)
                self.found += self._worker(job.backend).measure(job).measurements

    def _worker(self, backend: str) -> MeasuringProcess:
        """One for all backends of the same packages."""
        packages = backend.partition("-")[0]
        if packages not in self._workers:
            worker = self._stack.enter_context(MeasuringProcess(backend, self.power))
            self._workers[packages], base_bytes = worker, worker.base_memory_bytes()
            self.base_memory_bytes = self.base_memory_bytes or base_bytes
        return self._workers[packages]

    def _jobs(self, backend: str, tiers: Sequence[Tier | None], threads: Sequence[int]) -> Iterator[Job]:
        """None among the tiers: what frame plans do beside running networks."""
        sizes = [(scale, size_px) for scale, sizes in self.plan.sizes.items() for size_px in sizes]
        for tier, (scale, size_px), count in product(tiers, sizes, threads):
            yield self._job(scale, size_px, backend, count, tier)

    def _trials(self, backend: str, threads: Sequence[int]) -> Iterator[Job]:
        """The lightest network of two scales: one that works at its input's size, one at half of it."""
        scales = list(self.plan.sizes)
        for scale, count in product({scales[0], scales[len(scales) // 2]}, threads):
            yield self._job(scale, self.plan.sizes[scale][0], backend, count, Tier.LOW)

    def _job(self, scale: float, size_px: tuple[int, int], backend: str, threads: int, tier: Tier | None) -> Job:
        return Job(
            scale=scale,
            width_px=size_px[0],
            height_px=size_px[1],
            backend=backend,
            threads=threads,
            runs=self.plan.runs,
            seconds=self.plan.cell_seconds,
            tier=tier,
        )

    def _times_as_long(self, backend: str) -> float:
        """By the p50 of what both it and the usual backend were measured on; infinite when that is nothing."""
        usual = {_cell(each): each.p50_ms for each in self.found if each.backend == DEFAULT_BACKEND}
        both = (each for each in self.found if each.backend == backend and _cell(each) in usual)
        times = [each.p50_ms / usual[_cell(each)] for each in both]
        return float(np.exp(np.log(times).mean())) if times else float("inf")

    def _predictions(self, fits: Sequence[LatencyFit]) -> Iterator[Measurement]:
        """Of every way that there was no time for: by its own fit, or by the usual backend's times."""
        known = {(each.backend, *_cell(each)) for each in self.found}
        fit_of = {(fit.backend, fit.threads): fit for fit in fits}
        for backend, job, name in self._ways():
            size_px = job.width_px, job.height_px
            if (backend, name, *size_px, job.threads) in known:
                continue
            own, usual = (fit_of.get((each, job.threads)) for each in (backend, DEFAULT_BACKEND))
            times = 1.0 if own else self._times_as_long(backend)
            if (fit := own or usual) is not None and np.isfinite(times):
                told = predict(fit, name, size_px).slowed(times)
                yield _rounded(msgspec.structs.replace(told, backend=backend))

    def _ways(self) -> Iterator[tuple[str, Job, str]]:
        """All that a profile may tell: backend, job, and the name of what it measures."""
        for backend in self.plan.backends:
            tiers = (*_ENDS, *_BETWEEN, *((None,) if backend == DEFAULT_BACKEND else ()))
            for job in self._jobs(backend, tiers, thread_counts()):
                yield from ((backend, job, name) for name in _names(job))


def _names(job: Job) -> tuple[str, ...]:
    """What a job measures, as profiles call it."""
    if job.tier is None:
        return upscale_name(job.scale), carry_name(job.scale)
    return (str(catalog.architecture(job.scale, job.tier)),)


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

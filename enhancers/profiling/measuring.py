"""Measuring one enhancer, or what frame plans do beside running one: time, energy, and the memory that it takes.

Meant to run in a process of its own (`enhancers.profiling.worker`): the peak of its memory is then the enhancer's.
"""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from abr.core.device import EnergySource, Measurement
from abr.core.enhancement import Tier
from abr.core.frame_plan import Action, carry_name, upscale_name
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.networks.untrained import add_untrained_chroma
from enhancers.profiling.energy import WatchedMeter, Work
from enhancers.runtime.backends import AnyNetwork
from enhancers.runtime.enhancer import Enhancer
from enhancers.runtime.frames import Frame
from enhancers.runtime.loader import DEFAULT_BACKEND, open_planned, open_weights
from enhancers.runtime.planned import PlannedEnhancer
from enhancers.runtime.sample_pictures import make_moving_pictures, make_pictures

_RUNS_MIN = 4
_PATIENCE = 4.0
"""So many times the seconds that were meant are spent on getting the fewest runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much measuring of one thing: at most so many frames, and no more seconds once there are a few."""

    runs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """Milliseconds of each frame, and joules above idle of all together; without a meter none."""

    times_ms: Sequence[float]
    energy_j: float
    source: EnergySource | None


def shipped_weights(scale: float, tier: Tier) -> Weights:
    """Those of the generic network, and with a chroma part: what a title may bring of its own takes no longer."""
    architecture = catalog.architecture(scale, tier)
    weights = loads_chunks(catalog.generic_chunks(architecture))
    return add_untrained_chroma(replace(weights, architecture=architecture))


def measure_enhancer(
    weights: AnyNetwork,
    size_px: tuple[int, int],
    backend: str,
    threads: int,
    effort: Effort,
    meter: WatchedMeter | None = None,
) -> Measurement:
    """Open an enhancer as a player does and time it on pictures with detail.

    For one that reuses the network's gain, times are means over the frames that share one run of the network.
    Raises FormatError for what this backend does not run.
    """
    architecture = weights.architecture
    enhancer = open_weights(
        weights,
        "",
        size_px=size_px,
        display_px=display_px(size_px, architecture.scale),
        backend=backend,
        threads=threads,
    )
    reuse = architecture.reuse
    if reuse > 1:
        timed = _time(enhancer, make_moving_pictures(*size_px), effort, meter, runs_min=2 * reuse)
        means_ms = np.convolve(timed.times_ms, np.full(reuse, 1 / reuse), "valid").tolist()
        return _measurement(str(architecture), size_px, backend, threads, timed, means_ms)
    timed = _time(enhancer, make_pictures(*size_px), effort, meter)
    return _measurement(str(architecture), size_px, backend, threads, timed, timed.times_ms)


def measure_plan_actions(
    scale: float, size_px: tuple[int, int], threads: int, effort: Effort, meter: WatchedMeter | None = None
) -> list[Measurement]:
    """What frame plans do beside running networks: upscale a frame plainly, and carry the gain of the one before."""
    weights = add_untrained_chroma(loads_chunks(catalog.generic_chunks(catalog.architecture(scale, Tier.LOW))))
    enhancer = open_planned([weights], "", size_px=size_px, display_px=display_px(size_px, scale), threads=threads)
    frames = make_moving_pictures(*size_px)
    timed = {
        upscale_name(scale): _time_action(enhancer, frames, Action.NOTHING, effort, meter),
        carry_name(scale): _time_action(enhancer, frames, Action.CARRY, effort, meter),
    }
    return [
        _measurement(name, size_px, DEFAULT_BACKEND, threads, each, each.times_ms, memory_bytes=0)
        for name, each in timed.items()
    ]


def _time(
    enhancer: Enhancer, frames: Sequence[Frame], effort: Effort, meter: WatchedMeter | None, runs_min: int = _RUNS_MIN
) -> _Timed:
    """Each run a new picture."""
    times_ms: list[float] = []

    def work() -> None:
        started_s = time.perf_counter()
        for run in range(max(runs_min, effort.runs)):
            began_s = time.perf_counter()
            enhancer.enhance(frames[run % len(frames)])
            ended_s = time.perf_counter()
            times_ms.append((ended_s - began_s) * 1000)
            spent = (ended_s - started_s) / effort.seconds
            if spent > 1 and (run + 1 >= runs_min or spent > _PATIENCE):
                return

    energy_j, source = metered(work, meter)
    return _Timed(times_ms=times_ms, energy_j=energy_j, source=source)


def _time_action(
    enhancer: PlannedEnhancer, frames: Sequence[Frame], action: Action, effort: Effort, meter: WatchedMeter | None
) -> _Timed:
    """The network runs on the first frame, out of the count."""
    times_ms: list[float] = []
    energy_j, source = 0.0, None
    started_s = time.perf_counter()
    while not times_ms or (len(times_ms) < effort.runs and time.perf_counter() - started_s < effort.seconds):
        enhancer.perform(frames[0], Action.FIRST_EXIT)

        def work() -> None:
            for frame in frames[1 : 1 + effort.runs]:
                began_s = time.perf_counter()
                enhancer.perform(frame, action)
                times_ms.append((time.perf_counter() - began_s) * 1000)

        more_j, source = metered(work, meter)
        energy_j += more_j
    return _Timed(times_ms=times_ms, energy_j=energy_j, source=source)


def metered(work: Callable[[], None], meter: WatchedMeter | None) -> tuple[float, EnergySource | None]:
    """Do it; joules above those of the idle device, and what they were read from. (0, None) without a source."""
    if meter is None:
        work()
        return 0.0, None
    try:
        before, began_s, busy_s = meter.meter.read(), time.perf_counter(), time.process_time()
        work()
        done = Work(wall_s=time.perf_counter() - began_s, cpu_s=time.process_time() - busy_s)
        return meter.above_idle_j(before, meter.meter.read(), done), meter.meter.source
    except OSError:  # a battery taken out, say
        return 0.0, None


def _measurement(
    name: str,
    size_px: tuple[int, int],
    backend: str,
    threads: int,
    timed: _Timed,
    times_ms: Sequence[float],
    memory_bytes: int | None = None,
) -> Measurement:
    return Measurement(
        architecture=name,
        width_px=size_px[0],
        height_px=size_px[1],
        backend=backend,
        threads=threads,
        p50_ms=max(0.001, round(float(np.percentile(times_ms, 50)), 3)),
        p95_ms=max(0.001, round(float(np.percentile(times_ms, 95)), 3)),
        memory_bytes=peak_memory_bytes() if memory_bytes is None else memory_bytes,
        runs=len(timed.times_ms),
        energy_mj=round(1000 * timed.energy_j / len(timed.times_ms), 3),
        energy_source=timed.source,
    )


def display_px(size_px: tuple[int, int], scale: float) -> tuple[int, int]:
    """The 16:9 display that this rung is shown on: 426x240 goes to 1280x720, through the last scaling that it needs."""
    height_px = int(size_px[1] * scale)
    return (height_px * 16 // 9 + 1) & ~1, height_px


def peak_memory_bytes() -> int:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024

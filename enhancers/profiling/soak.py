"""A soak: work without a pause, to see how much of its speed a device loses when it grows warm."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from abr.core.device import Measurement, Soak
from abr.errors import FormatError
from abr.progress import ShareListener
from enhancers.networks.catalog import generic_chunks
from enhancers.networks.plain import parse
from enhancers.profiling.measuring import display_px
from enhancers.runtime.backends import AnyNetwork
from enhancers.runtime.loader import load_weights, open_weights
from enhancers.runtime.sample_pictures import make_pictures

_ENDS = 0.15
"""Share of the time, at the beginning and at the end, whose speeds are compared."""


def soak_device(found: Sequence[Measurement], seconds: float, progress: ShareListener) -> Soak | None:
    """Run the costliest network that keeps up with 25 frames a second, or else the cheapest; None without any."""
    chosen = choose_work(found)
    if chosen is None:
        return None
    weights = load_weights(chosen.architecture, generic_chunks(parse(chosen.architecture)))
    lift = open_work(weights, chosen)
    drop = thermal_drop(frame_times(lift, seconds, progress))
    return Soak(architecture=chosen.architecture, seconds=seconds, thermal_drop=drop)


def choose_work(found: Sequence[Measurement]) -> Measurement | None:
    """Among what was measured, on all cores."""
    threads = max((each.threads for each in found), default=0)
    ours = [each for each in found if each.runs and each.threads == threads and _runs_each_frame(each.architecture)]
    in_time = [each for each in ours if each.p95_ms <= 40.0]
    if in_time:
        return max(in_time, key=lambda each: each.p50_ms)
    return min(ours, key=lambda each: each.p50_ms, default=None)


def _runs_each_frame(architecture: str) -> bool:
    try:
        return parse(architecture).reuse == 1
    except FormatError:
        return False


def open_work(weights: AnyNetwork, chosen: Measurement) -> Callable[[], object]:
    """Lifts a picture each time that it is called."""
    size_px = (chosen.width_px, chosen.height_px)
    enhancer = open_weights(
        weights,
        "",
        size_px=size_px,
        display_px=display_px(size_px, weights.architecture.scale),
        backend=chosen.backend,
        threads=chosen.threads,
    )
    picture = make_pictures(*size_px)[0]
    return lambda: enhancer.enhance(picture)


def frame_times(
    lift: Callable[[], object], seconds: float, progress: ShareListener, clock: Callable[[], float] = time.perf_counter
) -> list[tuple[float, float]]:
    """(when it ended since the beginning, how long it took) of each frame, in seconds."""
    began_s = clock()
    times: list[tuple[float, float]] = []
    while not times or times[-1][0] < seconds:
        before_s = clock() - began_s
        lift()
        after_s = clock() - began_s
        times.append((after_s, after_s - before_s))
        progress("Working without a pause", min(1.0, after_s / seconds))
    return times


def thermal_drop(times: Sequence[tuple[float, float]]) -> float:
    """Share of the speed that is lost from the beginning to the end, by medians; 0 when there is none."""
    last_s = times[-1][0]
    early = [took_s for ended_s, took_s in times if ended_s <= _ENDS * last_s] or [times[0][1]]
    late = [took_s for ended_s, took_s in times if ended_s >= (1 - _ENDS) * last_s]
    return min(0.999, max(0.0, 1 - float(np.median(early) / np.median(late))))

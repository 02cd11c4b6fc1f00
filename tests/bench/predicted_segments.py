"""Time of enhancing segments, predicted and measured: sizes and depths that the fit has never seen; FLOPs beside.

    PYTHONPATH=tests/support/jobs:tests/support/media python tests/bench/predicted_segments.py [--frames 48] [--json]

The shipped tiers are measured at the profile's sizes, on one thread. Then networks of other depths lift two seconds of
the sample clip at other sizes. Let nothing else run beside it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from networks import random_weights

from abr.core.device import LatencyFit, Measurement
from abr.core.energy import assumed_power
from abr.core.enhancement import Tier
from enhancers.measurement.device_profile import SIZES_PX
from enhancers.measurement.speed import encode_rung
from enhancers.networks.plain import parse
from enhancers.networks.untrained import add_untrained_chroma
from enhancers.profiling.latency_fit import fit_latency, gmacs_of, predict, work_of
from enhancers.profiling.least_squares import solve_relative
from enhancers.profiling.machine import cores, processor_name
from enhancers.profiling.measuring import display_px
from enhancers.profiling.worker import Job, MeasuringProcess
from enhancers.runtime.frames import decode_segment
from enhancers.runtime.loader import DEFAULT_BACKEND, open_weights

CLIP = Path(__file__).parents[2] / "client_player" / "sample" / "bbb_60s.mp4"
UNSEEN = {
    "4": ((256, 144), (400, 224)),
    "3": ((320, 180), (512, 288)),
    "2d2": ((480, 270), (800, 450)),
    "1.5d2": ((640, 360), (1024, 576)),
}
DEPTHS = (3, 4, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment: seconds of enhancing it, as measured and as told."""

    architecture: str
    width_px: int
    height_px: int
    measured_s: float
    predicted_s: float
    by_flops_s: float


def fitted() -> list[Measurement]:
    """The shipped tiers at the profile's sizes."""
    found: list[Measurement] = []
    with MeasuringProcess(DEFAULT_BACKEND, assumed_power(cores())) as worker:
        worker.base_memory_bytes()
        for scale, sizes in SIZES_PX.items():
            for width_px, height_px in sizes:
                for tier in (Tier.LOW, Tier.MEDIUM, Tier.HIGH, None):
                    job = Job(
                        scale=scale,
                        width_px=width_px,
                        height_px=height_px,
                        backend=DEFAULT_BACKEND,
                        threads=1,
                        runs=60,
                        seconds=0.6,
                        tier=tier,
                    )
                    found += worker.measure(job).measurements
    return found


def segments(fit: LatencyFit, flops: tuple[float, float], frames: int) -> Iterator[Segment]:
    """Each size and depth once."""
    for scale, sizes in UNSEEN.items():
        for size_px in sizes:
            pictures = list(decode_segment(encode_rung(CLIP, size_px, frames, skip=200)))
            for depth in DEPTHS:
                weights = add_untrained_chroma(random_weights(parse(f"plain-m{depth}c32x{scale}")))
                name, network = str(weights.architecture), weights.architecture
                shown_px = display_px(size_px, network.scale)
                enhancer = open_weights(weights, "", size_px=size_px, display_px=shown_px, backend=DEFAULT_BACKEND)
                began_s = time.perf_counter()
                for picture in pictures:
                    enhancer.enhance(picture)
                yield Segment(
                    architecture=name,
                    width_px=size_px[0],
                    height_px=size_px[1],
                    measured_s=time.perf_counter() - began_s,
                    predicted_s=frames * predict(fit, name, size_px).p50_ms / 1000,
                    by_flops_s=frames * (flops[0] + flops[1] * gmacs_of(work_of(name, size_px))) / 1000,
                )


@click.command()
@click.option("--frames", type=click.IntRange(min=8), default=48)
@click.option("--json", "as_json", is_flag=True)
def main(frames: int, as_json: bool) -> None:
    """Measure and print."""
    load = os.getloadavg()[0]
    cells = fitted()
    (fit,) = fit_latency(cells)
    tiers = [each for each in cells if each.architecture.startswith("plain-")]
    table = np.array([[1.0, gmacs_of(work_of(c.architecture, (c.width_px, c.height_px)))] for c in tiers])
    fixed_ms, per_gmac = solve_relative(table, np.array([each.p50_ms for each in tiers])).tolist()
    found = list(segments(fit, (fixed_ms, per_gmac), frames))
    errors = {
        name: np.abs(np.array([getattr(each, name) for each in found]) / [each.measured_s for each in found] - 1)
        for name in ("predicted_s", "by_flops_s")
    }
    figures = {name: [float(np.percentile(error, share)) for share in (50, 95)] for name, error in errors.items()}
    if as_json:
        report = {
            "segments": [asdict(each) for each in found],
            "errors": figures,
            "fit": fit.operations_ms,
            "load": load,
        }
        click.echo(json.dumps(report))
        return
    for each in found:
        size = f"{each.width_px}x{each.height_px}"
        told = f"{each.predicted_s:8.3f}{each.by_flops_s:8.3f}"
        click.echo(f"{each.architecture:<20}{size:<10}{each.measured_s:8.3f}{told}")
    click.echo(f"{processor_name()}, load {load:.1f}; {fit.operations_ms}")
    for name, (p50, p95) in figures.items():
        click.echo(f"{name}: error p50 {p50:.1%}, p95 {p95:.1%} of {len(found)} segments")


if __name__ == "__main__":
    main()

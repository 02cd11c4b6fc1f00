"""The device profile: how long this machine takes from a decoded frame to the frame that is shown."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import click
import msgspec
import numpy as np

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import Tier
from abr.core.frame_plan import Action, carry_name, upscale_name
from abr.errors import FormatError, StorageError
from abr.files import cache_folder, write_atomically
from abr.progress import ShareListener
from abr.records import dumps_pretty, load
from enhancers.networks import catalog
from enhancers.networks.checkpoint import loads_chunks
from enhancers.networks.imported import ImportedNetwork
from enhancers.networks.untrained import add_untrained_chroma
from enhancers.runtime.backends import AnyNetwork, installed, runnable
from enhancers.runtime.enhancer import Enhancer
from enhancers.runtime.frames import Frame
from enhancers.runtime.loader import DEFAULT_BACKEND, FOREIGN_BACKENDS, open_planned, open_weights
from enhancers.runtime.sample_pictures import make_moving_pictures, make_pictures

_SIZES_PX: dict[float, tuple[tuple[int, int], ...]] = {
    4: ((320, 180), (480, 270)),
    3: ((426, 240), (640, 360)),
    2: ((640, 360), (960, 540)),
    1.5: ((854, 480), (1280, 720)),
}
"""Input sizes by network scale: the usual rungs below 720p and 1080p."""
_RUNS, _QUICK_RUNS = 60, 24
_METHOD = 4
"""Counts the ways in which enhancers were run and measured: profiles of another are measured again."""
_SLOW_S = 2.0
"""No more than this much measuring of one combination: what is so slow is not used."""


def profile_device(
    output: Path | None, *, quick: bool, force: bool, progress: ShareListener, tell: bool = False
) -> tuple[Path, DeviceProfile]:
    """Measure this device, unless a profile that is still valid is kept. Returns its path and the profile.

    It is kept in the user's cache, or in `output`, where a kept one is written to as well. force: measure in any case.
    tell: say when a kept one was measured. Raises StorageError.
    """
    key = weights_hash()
    cached = cache_folder() / f"device-{key[:16]}.json"
    path = output or cached
    for candidate in () if force else (path, cached):
        kept = _valid_profile(candidate, key)
        if kept is not None:
            if tell:
                measured = time.strftime("%Y-%m-%d %H:%M", time.localtime(candidate.stat().st_mtime))
                click.echo(f"This device was measured on {measured}; --force measures it again.", err=True)
            if candidate != path:
                write_atomically(path, dumps_pretty(kept))
            return path, kept
    click.echo("Measuring this device: some minutes, or about 20 s with --quick.", err=True)
    profile = DeviceProfile(device=this_device(), measurements=tuple(measure_all(quick, progress)), weights_hash=key)
    write_atomically(path, dumps_pretty(profile))
    return path, profile


def _valid_profile(path: Path, key: str) -> DeviceProfile | None:
    try:
        kept = load(path, DeviceProfile)
    except (StorageError, FormatError):
        return None
    return kept if kept.weights_hash == key else None


def profile_networks(
    path: Path, profile: DeviceProfile, networks: Sequence[ImportedNetwork], *, quick: bool
) -> DeviceProfile:
    """`profile` with imported networks measured too, written to `path`. Raises StorageError."""
    backends = (FOREIGN_BACKENDS[0],) if quick else FOREIGN_BACKENDS
    more = [
        measure_enhancer(network, network.architecture.scale, size, backend, threads, _QUICK_RUNS if quick else _RUNS)
        for network in networks
        for size in _SIZES_PX[network.architecture.scale]
        for backend in backends
        for threads in thread_counts()
    ]
    names = {measurement.architecture for measurement in more}
    kept = tuple(each for each in profile.measurements if each.architecture not in names)
    profile = msgspec.structs.replace(profile, measurements=(*kept, *more))
    write_atomically(path, dumps_pretty(profile))
    return profile


def weights_hash() -> str:
    """Changes with the architectures, the generic weights, the backends at hand, and the way a profile is measured."""
    hasher = hashlib.sha256(repr((_SIZES_PX, list(installed()), version("openvino"), _METHOD)).encode())
    for scale in _SIZES_PX:
        for chunk in catalog.generic_chunks(catalog.architecture(scale)):
            hasher.update(chunk)
    return hasher.hexdigest()


def measure_all(quick: bool, progress: ShareListener) -> Iterator[Measurement]:
    """Every architecture × input size × backend × threads; with `quick` only the default backend and smaller sizes."""
    backends = (DEFAULT_BACKEND,) if quick else runnable()
    jobs = [
        (scale, tier, size, backend, threads)
        for scale, sizes in _SIZES_PX.items()
        for size in (sizes[:1] if quick else sizes)
        for tier in (*catalog.TIER_DEPTHS, Tier.REUSE)
        for backend in backends
        for threads in thread_counts()
    ]
    for number, (scale, tier, size, backend, threads) in enumerate(jobs):
        progress("Measuring enhancers", number / len(jobs))
        yield measure_enhancer(_weights(scale, tier), scale, size, backend, threads, _QUICK_RUNS if quick else _RUNS)
    for scale, sizes in _SIZES_PX.items():
        for size in sizes[:1] if quick else sizes:
            for threads in thread_counts():
                yield from measure_plan_actions(scale, size, threads, _QUICK_RUNS if quick else _RUNS)


def thread_counts() -> tuple[int, ...]:
    """One thread, and as many as there are cores to use."""
    cores = len(os.sched_getaffinity(0))
    return (1, cores) if cores > 1 else (1,)


def _weights(scale: float, tier: Tier) -> AnyNetwork:
    """Those of the generic network, and with a chroma part: what a title may bring of its own takes no longer."""
    architecture = catalog.architecture(scale, tier)
    weights = loads_chunks(catalog.generic_chunks(architecture))
    return add_untrained_chroma(replace(weights, architecture=architecture))


def measure_enhancer(
    weights: AnyNetwork, scale: float, size_px: tuple[int, int], backend: str, threads: int, runs: int
) -> Measurement:
    """Open an enhancer as a player does and time it on pictures with detail.

    For one that reuses the network's gain, times are means over the frames that share one run of the network.
    """
    display_px = _display_px(size_px, scale)
    before = _memory_bytes()
    enhancer = open_weights(weights, "", size_px=size_px, display_px=display_px, backend=backend, threads=threads)
    reuse = weights.architecture.reuse
    if reuse > 1:
        times_ms = time_enhancer_ms(enhancer, make_moving_pictures(*size_px), max(runs, 2 * reuse))
        times_ms = np.convolve(times_ms, np.full(reuse, 1 / reuse), "valid").tolist()
    else:
        times_ms = time_enhancer_ms(enhancer, make_pictures(*size_px), runs)
    return Measurement(
        architecture=str(weights.architecture),
        width_px=size_px[0],
        height_px=size_px[1],
        backend=backend,
        threads=threads,
        p50_ms=round(float(np.percentile(times_ms, 50)), 3),
        p95_ms=round(float(np.percentile(times_ms, 95)), 3),
        memory_bytes=max(0, _memory_bytes() - before),
    )


def measure_plan_actions(scale: float, size_px: tuple[int, int], threads: int, runs: int) -> list[Measurement]:
    """What frame plans do beside running networks: upscale a frame plainly, and carry the gain of the one before."""
    weights = add_untrained_chroma(loads_chunks(catalog.generic_chunks(catalog.architecture(scale, Tier.LOW))))
    before = _memory_bytes()
    display_px = _display_px(size_px, scale)
    enhancer = open_planned([weights], "", size_px=size_px, display_px=display_px, threads=threads)
    frames = make_moving_pictures(*size_px)

    def time_ms(action: Action) -> list[float]:
        times_ms: list[float] = []
        while len(times_ms) < runs:
            enhancer.perform(frames[0], Action.FIRST_EXIT)
            for frame in frames[1 : 1 + runs - len(times_ms)]:
                began_s = time.perf_counter()
                enhancer.perform(frame, action)
                times_ms.append((time.perf_counter() - began_s) * 1000)
        return times_ms

    return [
        Measurement(
            architecture=name,
            width_px=size_px[0],
            height_px=size_px[1],
            backend=DEFAULT_BACKEND,
            threads=threads,
            p50_ms=round(float(np.percentile(times_ms, 50)), 3),
            p95_ms=round(float(np.percentile(times_ms, 95)), 3),
            memory_bytes=max(0, _memory_bytes() - before),
        )
        for name, times_ms in (
            (upscale_name(scale), time_ms(Action.NOTHING)),
            (carry_name(scale), time_ms(Action.CARRY)),
        )
    ]


def _display_px(size_px: tuple[int, int], scale: float) -> tuple[int, int]:
    """The 16:9 display that this rung is shown on: 426x240 goes to 1280x720, through the last scaling that it needs."""
    height_px = int(size_px[1] * scale)
    return (height_px * 16 // 9 + 1) & ~1, height_px


def time_enhancer_ms(enhancer: Enhancer, frames: Sequence[Frame], runs: int) -> list[float]:
    """Milliseconds of each of up to `runs` calls, a new picture each time."""
    times_ms: list[float] = []
    started_s = time.perf_counter()
    for run in range(runs):
        began_s = time.perf_counter()
        enhancer.enhance(frames[run % len(frames)])
        times_ms.append((time.perf_counter() - began_s) * 1000)
        if time.perf_counter() - started_s > _SLOW_S and run >= 2:
            break
    return times_ms


def this_device() -> Device:
    """Name, processor, cores, memory and power source of this machine."""
    return Device(
        name=platform.node() or "this device",
        processor=processor_name(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        power=_power(),
    )


def processor_name() -> str:
    """The processor's name as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _power() -> str:
    supplies = list(Path("/sys/class/power_supply").glob("*/online"))
    try:
        online = [supply.read_text().strip() == "1" for supply in supplies]
    except OSError:
        return "unknown"
    return "unknown" if not online else "mains" if any(online) else "battery"


def _memory_bytes() -> int:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def as_text(profile: DeviceProfile) -> str:
    """A line for each architecture and size: the fastest way to run it."""
    sizes = sorted(
        {(m.architecture, m.width_px, m.height_px) for m in profile.measurements}, key=lambda s: (s[1], s[0])
    )
    lines = [f"{profile.device.processor}, {profile.device.cores} cores"]
    for architecture, width_px, height_px in sizes:
        best = profile.best(architecture, width_px, height_px)
        if best is not None:
            way = f"{best.backend}, {best.threads} thread{'s' if best.threads > 1 else ''}"
            speed = f"p50 {best.p50_ms:6.1f} ms  p95 {best.p95_ms:6.1f} ms"
            lines.append(f"{architecture:<24}{f'{width_px}x{height_px}':<10}{speed}  {way}")
    return "\n".join(lines)

"""The device profile: how long this machine takes from a decoded frame to the frame that is shown."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from abr.device import Device, DeviceProfile, Measurement
from abr.enhancement import Tier
from abr.errors import FormatError, StorageError
from abr.formats import dumps_pretty, load, save_whole
from enhancers import catalog
from enhancers.backends import BACKENDS, AnyNetwork, runnable
from enhancers.base import Enhancer
from enhancers.foreign import Foreign
from enhancers.frames import Frame, decode_segment, frame_of
from enhancers.job import Progress
from enhancers.rungs import compress
from enhancers.runtime import DEFAULT_BACKEND, FOREIGN_BACKENDS, open_weights, weights_as

_SIZES_PX: dict[float, tuple[tuple[int, int], ...]] = {
    4: ((320, 180), (480, 270)),
    3: ((426, 240), (640, 360)),
    2: ((640, 360), (960, 540)),
    1.5: ((854, 480), (1280, 720)),
}
"""Input sizes by network scale: the usual rungs below 720p and 1080p."""
_RUNS, _QUICK_RUNS = 60, 24
_METHOD = 2
"""Counts the ways in which enhancers were run and measured: profiles of another are measured again."""
_SLOW_S = 2.0
"""No more than this much measuring of one combination: what is so slow is not used."""
_PICTURES, _MOVING_PICTURES = 4, 24


def profile_device(output: Path | None, *, quick: bool, force: bool, progress: Progress) -> tuple[Path, DeviceProfile]:
    """Measure, or find a profile that still holds. Returns where it is written and the profile. Raises StorageError."""
    key = weights_hash()
    path = output or cache_folder() / f"device-{key[:16]}.json"
    if output is None and not force:
        try:
            held = load(path, DeviceProfile)
        except (StorageError, FormatError):
            held = None
        if held is not None and held.weights_hash == key:
            return path, held
    found = DeviceProfile(device=this_device(), measurements=tuple(measurements(quick, progress)), weights_hash=key)
    save_whole(path, dumps_pretty(found))
    return path, found


def profile_networks(path: Path, found: DeviceProfile, networks: Sequence[Foreign], *, quick: bool) -> DeviceProfile:
    """`found` with imported networks measured too, written to `path`. Raises StorageError."""
    backends = (FOREIGN_BACKENDS[0],) if quick else FOREIGN_BACKENDS
    more = [
        measured(network, network.architecture.scale, size, backend, threads, _QUICK_RUNS if quick else _RUNS)
        for network in networks
        for size in _SIZES_PX[network.architecture.scale]
        for backend in backends
        for threads in thread_counts()
    ]
    names = {measurement.architecture for measurement in more}
    held = tuple(each for each in found.measurements if each.architecture not in names)
    found = msgspec.structs.replace(found, measurements=(*held, *more))
    save_whole(path, dumps_pretty(found))
    return found


def cache_folder() -> Path:
    """Where programs keep what they can make again (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toprung"


def weights_hash() -> str:
    """Changes with the architectures, the generic weights, and the way a profile is measured."""
    hasher = hashlib.sha256(repr((_SIZES_PX, list(BACKENDS), version("openvino"), _METHOD)).encode())
    for scale in _SIZES_PX:
        for chunk in catalog.generic_chunks(catalog.architecture(scale)):
            hasher.update(chunk)
    return hasher.hexdigest()


def measurements(quick: bool, progress: Progress) -> Iterator[Measurement]:
    """Every architecture × input size × backend × threads; in quick form the usual backend and smaller sizes only."""
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
        yield measured(_weights(scale, tier), scale, size, backend, threads, _QUICK_RUNS if quick else _RUNS)


def thread_counts() -> tuple[int, ...]:
    """One thread, and as many as there are cores to use."""
    cores = len(os.sched_getaffinity(0))
    return (1, cores) if cores > 1 else (1,)


def _weights(scale: float, tier: Tier) -> AnyNetwork:
    architecture = catalog.architecture(scale, tier)
    return weights_as(str(architecture), catalog.generic_chunks(architecture))


def measured(
    weights: AnyNetwork, scale: float, size_px: tuple[int, int], backend: str, threads: int, runs: int
) -> Measurement:
    """Open an enhancer as a player does and time it on pictures with detail.

    Of one that reuses, times are means over as many frames as share an anchor: finished frames wait before the screen.
    """
    display_px = _display(size_px, scale)
    before = _memory_bytes()
    enhancer = open_weights(weights, "", size_px=size_px, display_px=display_px, backend=backend, threads=threads)
    reuse = weights.architecture.reuse
    if reuse > 1:
        times_ms = timed_ms(enhancer, moving_pictures(*size_px), max(runs, 2 * reuse))
        times_ms = np.convolve(times_ms, np.full(reuse, 1 / reuse), "valid").tolist()
    else:
        times_ms = timed_ms(enhancer, pictures(*size_px), runs)
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


def _display(size_px: tuple[int, int], scale: float) -> tuple[int, int]:
    """The 16:9 display that this rung is shown on: 426x240 goes to 1280x720, through the last scaling that it needs."""
    height_px = int(size_px[1] * scale)
    return (height_px * 16 // 9 + 1) & ~1, height_px


def timed_ms(enhancer: Enhancer, frames: Sequence[Frame], runs: int) -> list[float]:
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


def pictures(width_px: int, height_px: int) -> list[Frame]:
    """Frames of noise over a gradient, always the same. The work of a network does not depend on its picture."""
    random = np.random.default_rng(0)
    ramp = np.linspace(40, 200, width_px, dtype=np.float32)
    chroma = np.full(((height_px + 1) // 2, (width_px + 1) // 2), 128, np.uint8)
    lumas = (np.clip(ramp + random.normal(0, 12, (height_px, width_px)), 16, 235) for _ in range(_PICTURES))
    return [frame_of(luma.astype(np.uint8), chroma, chroma) for luma in lumas]


def moving_pictures(width_px: int, height_px: int) -> list[Frame]:
    """A coded pan over one of `pictures`, decoded with its motion: a key frame, then predicted ones, as in a ladder."""
    still = pictures(width_px, height_px)[0]
    pan = [frame_of(np.roll(still.y, -2 * index, axis=1), still.u, still.v) for index in range(_MOVING_PICTURES)]
    return list(decode_segment(compress(pan, 27, preset="ultrafast", b_frames=0), motion=True))


def this_device() -> Device:
    """What this machine says of itself."""
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


def as_text(found: DeviceProfile) -> str:
    """A line for each architecture and size: the fastest way to run it."""
    sizes = sorted({(m.architecture, m.width_px, m.height_px) for m in found.measurements}, key=lambda s: (s[1], s[0]))
    lines = [f"{found.device.processor}, {found.device.cores} cores"]
    for architecture, width_px, height_px in sizes:
        best = found.best(architecture, width_px, height_px)
        if best is not None:
            way = f"{best.backend}, {best.threads} thread{'s' if best.threads > 1 else ''}"
            speed = f"p50 {best.p50_ms:6.1f} ms  p95 {best.p95_ms:6.1f} ms"
            lines.append(f"{architecture:<24}{f'{width_px}x{height_px}':<10}{speed}  {way}")
    return "\n".join(lines)

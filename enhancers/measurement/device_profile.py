"""The device profile: what this machine takes from a decoded frame to the frame that is shown, and to decode one."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
import msgspec

from abr.core.device import DeviceProfile, Measurement, PowerModel
from abr.core.energy import assumed_power
from abr.errors import FormatError, StorageError
from abr.files import cache_folder, write_atomically
from abr.progress import ShareListener
from abr.records import dumps_pretty, load
from enhancers.networks import catalog
from enhancers.networks.derived import DerivedNetwork
from enhancers.networks.imported import ImportedNetwork
from enhancers.profiling.decoding import describe_decoding, measure_decoding
from enhancers.profiling.machine import busy_cores, cores, this_device, thread_counts
from enhancers.profiling.schedule import Plan, Schedule, Sizes
from enhancers.profiling.soak import soak_device
from enhancers.profiling.worker import Job, MeasuringProcess
from enhancers.runtime.backends import installed, runnable
from enhancers.runtime.loader import DEFAULT_BACKEND, FOREIGN_BACKENDS

SIZES_PX: Sizes = {
    4: ((320, 180), (480, 270)),
    3: ((426, 240), (640, 360)),
    2: ((640, 360), (960, 540)),
    1.5: ((854, 480), (1280, 720)),
}
"""Input sizes by network scale: the usual rungs below 720p and 1080p."""
PROFILE_S, QUICK_S = 45.0, 16.0
"""Of measuring. What is under way is finished, and processes have to start: a minute in all, or 20 s."""
RUNS, QUICK_RUNS = 60, 24
CELL_S, QUICK_CELL_S = 0.2, 0.1
BUSY_CORES_MAX = 0.5
"""Where other programs keep more of them busy, a device is measured, but not for good."""
_METHOD = 5
"""Counts the ways in which enhancers were run and measured: profiles of another are measured again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """How to measure. quick: the usual backend and smaller sizes alone. force: also where a valid profile is kept.

    soak_s: also work so long without a pause; 0: not. power: what the device draws, where nothing can be read of it;
    None: by its cores.
    """

    quick: bool = False
    force: bool = False
    soak_s: float = 0.0
    power: PowerModel | None = None


def profile_device(
    output: Path | None, request: ProfileRequest, progress: ShareListener, *, tell: bool = False
) -> tuple[Path, DeviceProfile]:
    """Measure this device, unless a profile that is still valid is kept. Returns its path and the profile.

    It is kept in the user's cache, or in `output`, where a kept one is written to as well. One of a busy machine is
    valid until the machine rests. tell: say when a kept one was measured. Raises StorageError.
    """
    key = weights_hash()
    cached = cache_folder() / f"device-{key[:16]}.json"
    path = output or cached
    for candidate in () if request.force else (path, cached):
        kept = _valid_profile(candidate, key)
        if kept is not None and _answers(kept, request) and not _was_busier(kept):
            kept = _completed(kept, candidate)
            if tell:
                measured = time.strftime("%Y-%m-%d %H:%M", time.localtime(candidate.stat().st_mtime))
                click.echo(f"This device was measured on {measured}; --force measures it again.", err=True)
            if candidate != path:
                write_atomically(path, dumps_pretty(kept))
            return path, kept
    click.echo("Measuring this device: a minute at most, or about 20 s with --quick.", err=True)
    if (busy := busy_cores()) > BUSY_CORES_MAX:
        click.echo(
            f"Other programs keep {busy:.1f} of {os.cpu_count()} cores busy, so it will look slower than it is. "
            "It is measured again the next time that it is asked for while they rest.",
            err=True,
        )
    profile = msgspec.structs.replace(measure_device(request, key, progress), busy_cores=round(busy, 1))
    write_atomically(path, dumps_pretty(profile))
    return path, profile


def measure_device(request: ProfileRequest, key: str, progress: ShareListener) -> DeviceProfile:
    """A new profile, under this `weights_hash`."""
    power, quick = request.power or assumed_power(cores()), request.quick
    plan = Plan(
        sizes={scale: sizes[:1] for scale, sizes in SIZES_PX.items()} if quick else SIZES_PX,
        backends=(DEFAULT_BACKEND,) if quick else (DEFAULT_BACKEND, *(b for b in runnable() if b != DEFAULT_BACKEND)),
        seconds=QUICK_S if quick else PROFILE_S,
        runs=QUICK_RUNS if quick else RUNS,
        cell_seconds=QUICK_CELL_S if quick else CELL_S,
    )
    schedule = Schedule(plan=plan, power=power, progress=progress)
    fits = schedule.measure()
    return DeviceProfile(
        device=this_device(),
        measurements=tuple(schedule.found),
        weights_hash=key,
        fits=fits,
        power=power,
        base_memory_bytes=schedule.base_memory_bytes,
        soak=soak_device(schedule.found, request.soak_s, progress) if request.soak_s else None,
        decoding=measure_decoding(),
    )


def _valid_profile(path: Path, key: str) -> DeviceProfile | None:
    try:
        kept = load(path, DeviceProfile)
    except (StorageError, FormatError):
        return None
    return kept if kept.weights_hash == key else None


def _completed(kept: DeviceProfile, path: Path) -> DeviceProfile:
    """With the times of decoding, which older profiles do not have; written down where that is possible."""
    if not kept.decoding:
        kept = msgspec.structs.replace(kept, decoding=measure_decoding())
        with suppress(StorageError):
            write_atomically(path, dumps_pretty(kept))
    return kept


def _answers(kept: DeviceProfile, request: ProfileRequest) -> bool:
    """Whether a kept profile tells what is asked for."""
    return (kept.soak is not None or not request.soak_s) and request.power in (None, kept.power)


def _was_busier(kept: DeviceProfile) -> bool:
    """Whether other programs kept the machine busy when it was measured, and no longer do."""
    return kept.busy_cores > BUSY_CORES_MAX >= busy_cores()


def profile_networks(
    path: Path, profile: DeviceProfile, networks: Sequence[ImportedNetwork | DerivedNetwork], *, quick: bool
) -> DeviceProfile:
    """`profile` with imported or derived networks measured too, written to `path`. Raises FormatError, StorageError."""
    more = list(_measure_networks(profile, networks, quick=quick))
    names = {measurement.architecture for measurement in more}
    kept = tuple(each for each in profile.measurements if each.architecture not in names)
    profile = msgspec.structs.replace(profile, measurements=(*kept, *more))
    write_atomically(path, dumps_pretty(profile))
    return profile


def _measure_networks(
    profile: DeviceProfile, networks: Sequence[ImportedNetwork | DerivedNetwork], *, quick: bool
) -> Iterator[Measurement]:
    foreign = [each for each in networks if isinstance(each, ImportedNetwork)]
    ours = [each for each in networks if isinstance(each, DerivedNetwork)]
    ways: list[tuple[str, Sequence[ImportedNetwork | DerivedNetwork]]]
    ways = [(backend, foreign) for backend in (FOREIGN_BACKENDS[:1] if quick else FOREIGN_BACKENDS)]
    for backend, tried in [*ways, (DEFAULT_BACKEND, ours)]:
        if not tried:
            continue
        with MeasuringProcess(backend, profile.power or assumed_power(cores())) as worker:
            worker.base_memory_bytes()
            for network in tried:
                for job in _network_jobs(network, backend, quick=quick):
                    answer = worker.measure(job)
                    if answer.failure:
                        raise FormatError(f"{network.architecture} cannot be measured: {answer.failure}.")
                    yield from answer.measurements


def _network_jobs(network: ImportedNetwork | DerivedNetwork, backend: str, *, quick: bool) -> Iterator[Job]:
    scale = network.architecture.scale
    for width_px, height_px in SIZES_PX[scale]:
        for threads in thread_counts():
            yield Job(
                scale=scale,
                width_px=width_px,
                height_px=height_px,
                backend=backend,
                threads=threads,
                runs=QUICK_RUNS if quick else RUNS,
                seconds=2.0,
                network=network.data,
            )


def weights_hash() -> str:
    """Changes with the architectures, the generic weights, the backends at hand, and the way a profile is measured."""
    hasher = hashlib.sha256(repr((SIZES_PX, list(installed()), version("openvino"), _METHOD)).encode())
    for scale in SIZES_PX:
        for chunk in catalog.generic_chunks(catalog.architecture(scale)):
            hasher.update(chunk)
    return hasher.hexdigest()


def as_text(profile: DeviceProfile) -> str:
    """A line for each architecture and size: the fastest way to run it. Then how well the rest is predicted."""
    sizes = sorted(
        {(m.architecture, m.width_px, m.height_px) for m in profile.measurements}, key=lambda s: (s[1], s[0])
    )
    lines = [f"{profile.device.processor}, {profile.device.cores} cores"]
    lines += filter(None, (_line(profile, *size) for size in sizes))
    return "\n".join([*lines, *describe_decoding(profile.decoding), *_notes(profile)])


def _line(profile: DeviceProfile, architecture: str, width_px: int, height_px: int) -> str:
    best = profile.best(architecture, width_px, height_px)
    if best is None:
        return ""
    way = f"{best.backend}, {best.threads} thread{'s' if best.threads > 1 else ''}"
    speed = f"p50 {best.p50_ms:6.1f} ms  p95 {best.p95_ms:6.1f} ms"
    source = best.energy_source
    energy = f"{'~' if source.is_estimate else ' '}{best.energy_mj:6.0f} mJ" if source else ""
    memory = f"{best.memory_bytes / 1e6:5.0f} MB" if best.memory_bytes else " " * 8
    predicted = "" if best.runs else ", predicted"
    return f"{architecture:<22}{f'{width_px}x{height_px}':<10}{speed}  {energy}  {memory}  {way}{predicted}"


def _notes(profile: DeviceProfile) -> Iterator[str]:
    measured = [each for each in profile.measurements if each.runs]
    yield f"{len(measured)} ways were measured, {len(profile.measurements) - len(measured)} are predicted."
    sources = {each.energy_source for each in measured if each.energy_source}
    if profile.power and any(source.is_estimate for source in sources):
        origin = "assumed by its cores" if profile.power.assumed else "as given"
        yield (
            f"Energy (~) is an estimate: {profile.power.idle_w:g} W at rest and {profile.power.full_w:g} W "
            f"with all cores at work, {origin}."
        )
    else:
        yield from (f"Energy is measured ({source}), above that of the idle device." for source in sorted(sources))
    for fit in profile.fits:
        if (fit.backend, fit.threads) == (DEFAULT_BACKEND, 1):
            yield (
                f"Other sizes are predicted to {fit.error_p50:.0%} (95th percentile {fit.error_p95:.0%}) of the time; "
                f"by FLOPs alone to {fit.flops_error_p50:.0%} ({fit.flops_error_p95:.0%})."
            )
    if profile.soak:
        yield (
            f"{profile.soak.architecture} for {profile.soak.seconds:.0f} s without a pause: "
            f"{profile.soak.thermal_drop:.0%} of the speed was lost."
        )

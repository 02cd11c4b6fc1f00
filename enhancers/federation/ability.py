"""What training takes of a device: seen in processes of their own, or reckoned from how fast it runs networks.

`python -m enhancers.federation.ability` is such a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from abr.core.device import DeviceProfile, EnergySource, PowerModel
from abr.core.energy import assumed_power
from abr.core.enhancement import Tier
from abr.errors import InputError, ToprungError
from abr.federation.costs import TrainingAbility, TrainingLoad
from abr.federation.version import LocalRecipe
from abr.records import Record, dumps, loads
from abr.secure_aggregation.secrets import load_libraries
from enhancers.networks import catalog
from enhancers.profiling.energy import WatchedMeter, find_meter
from enhancers.profiling.least_squares import solve_relative
from enhancers.profiling.machine import cores
from enhancers.profiling.measuring import metered, peak_memory_bytes

if TYPE_CHECKING:
    from enhancers.training.patches import TrainingPairs

SCALE, SIZE_PX, FRAMES = 2.0, (640, 360), 24
"""What comes to a player: a rung of 360 lines, of which so many pictures are learnt from."""
DETAIL, CRF = 0.03, 34.0
PROBES = ((Tier.LOW, 2, 4), (Tier.LOW, 2, 24), (Tier.LOW, 16, 12), (Tier.HIGH, 4, 12), (Tier.HIGH, 24, 8))
"""Tier, batch and steps: four unknowns of time want four of them at least."""
REFERENCE = TrainingAbility(
    base_bytes=456e6,
    kept_times=1.0,
    begin_s=1.17,
    step_s=0.00721,
    output_s=2.92e-8,
    mac_s=1.66e-11,
    watts=4.0,
    source=EnergySource.MODEL,
)
"""Of the machine that BENCHMARKS tells of."""
REFERENCE_CORE_MS = 13.65
"""Of a core, for a frame of 640x360 by tier low at ×2 on that machine."""
_PATIENCE_S = 600.0


class Job(Record, frozen=True):
    """Training to be done, on a film that is made for it: what it takes does not hang on the film."""

    tier: Tier
    batch: int
    steps: int


class Taken(Record, frozen=True):
    """What that took. joules: above the idle device. failure: why nothing did."""

    processor_s: float = 0.0
    peak_bytes: int = 0
    joules: float = 0.0
    source: EnergySource | None = None
    failure: Annotated[str, Meta(max_length=512)] = ""


class _Order(Record, frozen=True):
    job: Job
    power: PowerModel


def take(job: Job, power: PowerModel) -> Taken:
    """What a job takes in a process that does nothing else: a fork of one that has loaded torch would look smaller.

    Raises InputError.
    """
    command = [sys.executable, "-m", "enhancers.federation.ability"]
    try:
        order = dumps(_Order(job=job, power=power))
        done = subprocess.run(command, input=order, stdout=subprocess.PIPE, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"Training cannot be measured on this machine: {error}.") from error
    taken = loads(done.stdout, Taken, what="answer") if done.stdout else Taken(failure="its process ended")
    if taken.failure:
        raise InputError(f"Training cannot be measured on this machine: {taken.failure}.")
    return taken


def measure_ability(power: PowerModel | None = None) -> TrainingAbility:
    """Of this machine, in a minute. Raises InputError."""
    watts = power or assumed_power(cores())
    taken = [take(Job(tier=tier, batch=batch, steps=steps), watts) for tier, batch, steps in PROBES]
    return fit_ability([probe_load(*probe) for probe in PROBES], taken)


def probe_load(tier: Tier, batch: int, steps: int) -> TrainingLoad:
    """Of a job, by the formulas."""
    from enhancers.federation.loads import load_of

    return load_of(SCALE, tier, batch=batch, steps=steps, frames=FRAMES, size_px=(SIZE_PX[0], SIZE_PX[1]))


def fit_ability(loads_: list[TrainingLoad], taken: list[Taken]) -> TrainingAbility:
    """The formulas' constants, by least squares of relative errors."""
    table = np.array(
        [[1.0, load.steps, load.steps * load.batch * load.outputs, load.steps * load.step_macs] for load in loads_]
    )
    seconds = np.array([each.processor_s for each in taken])
    begin_s, step_s, output_s, mac_s = solve_relative(table, seconds).tolist()
    peaks = np.array(
        [each.peak_bytes - load.data_bytes - load.state_bytes for load, each in zip(loads_, taken, strict=True)],
        dtype=np.float64,
    )
    kept = np.array([float(load.kept_bytes) for load in loads_])
    base_bytes, kept_times = solve_relative(np.stack([np.ones(len(kept)), kept], axis=1), peaks).tolist()
    if kept_times < 1:  # small ones hide in what making pairs has taken before; large ones cannot
        base_bytes, kept_times = float(np.mean(peaks - kept)), 1.0
    total_s = sum(each.processor_s for each in taken)
    return TrainingAbility(
        base_bytes=base_bytes,
        kept_times=kept_times,
        begin_s=begin_s,
        step_s=step_s,
        output_s=output_s,
        mac_s=mac_s,
        watts=sum(each.joules for each in taken) / total_s,
        source=taken[0].source or EnergySource.MODEL,
    )


def reckon_ability(profile: DeviceProfile) -> TrainingAbility:
    """Of a device that was only seen to run networks: slower for training as it is for that.

    Raises InputError for a profile that does not tell how long tier low takes.
    """
    known = profile.best(str(catalog.architecture(SCALE, Tier.LOW)), *SIZE_PX)
    if known is None:
        raise InputError("The profile does not tell how fast tier low is at ×2; measure the device: toprung profile.")
    power = profile.power or assumed_power(max(1, profile.device.cores))
    watts = max(power.full_w - power.idle_w, 1e-3) / max(1, profile.device.cores)
    core_ms = known.p50_ms * known.threads
    if known.energy_source is EnergySource.MODEL and known.energy_mj:  # was reckoned from the time that a core worked
        core_ms = known.energy_mj / watts
    slowed = REFERENCE.slowed(core_ms / REFERENCE_CORE_MS)
    return TrainingAbility(
        base_bytes=slowed.base_bytes,
        kept_times=slowed.kept_times,
        begin_s=slowed.begin_s,
        step_s=slowed.step_s,
        output_s=slowed.output_s,
        mac_s=slowed.mac_s,
        watts=watts,
        source=EnergySource.MODEL,
    )


def main() -> None:
    """Do one job: an order on stdin, the answer on stdout."""
    answer = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that print
    order = loads(sys.stdin.buffer.read(), _Order, what="order")
    import_module("aiohttp")  # and the rest of what a player that tunes has loaded
    try:
        load_libraries()
        taken = _train(order.job, find_meter(order.power))
    except (ToprungError, RuntimeError, ValueError, MemoryError) as error:
        taken = Taken(failure=(str(error) or type(error).__name__)[:512])
    answer.write(dumps(taken))


def _came() -> TrainingPairs:
    """A film as it came to a player, decoded and made small as a player does it."""
    from enhancers.federation.local_training import FRAMES_MAX, own_pairs
    from enhancers.runtime.encode import compress
    from enhancers.runtime.frames import decode_segment
    from enhancers.runtime.sample_pictures import make_moving_pictures

    pictures = make_moving_pictures(*SIZE_PX)
    film = compress([pictures[number % len(pictures)] for number in range(FRAMES_MAX)], CRF, preset="veryfast")
    return own_pairs(list(decode_segment(film)), SCALE, CRF, FRAMES)


def _train(job: Job, meter: WatchedMeter) -> Taken:
    from enhancers.federation.local_training import train_locally
    from enhancers.federation.tuned_network import generic_network

    pairs = _came()
    recipe = LocalRecipe(steps=job.steps, batch=job.batch, rate=1e-4, detail_weight=DETAIL, frames_full=FRAMES)
    took: list[float] = []

    def work() -> None:
        took.append(train_locally(generic_network(SCALE, job.tier), [pairs], recipe, seed=1).processor_s)

    joules, source = metered(work, meter)
    return Taken(processor_s=took[0], peak_bytes=peak_memory_bytes(), joules=joules, source=source)


if __name__ == "__main__":
    main()

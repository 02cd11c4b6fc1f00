"""Derives a network: choose a cell, prune the teacher to the budget, cut the channels out, train what is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abr.core.device import DeviceProfile, Measurement
from abr.errors import InputError
from abr.progress import ShareListener
from enhancers.deriving.budget import Budget
from enhancers.deriving.cells import list_cells
from enhancers.deriving.costs import CostModel
from enhancers.deriving.gates import GatedTrunk, GateRun
from enhancers.deriving.operator_latency import GROUP, Latency, measure_ms, measure_operators
from enhancers.deriving.proxies import PROXIES
from enhancers.deriving.slicing import choose_channels, slice_channels
from enhancers.deriving.tails import solve_tail
from enhancers.networks import catalog
from enhancers.networks.calibrate import calibrate
from enhancers.networks.checkpoint import Weights, dumps_chunks
from enhancers.networks.derived import DerivedNetwork, loads_derived
from enhancers.networks.plain import PlainArchitecture, parse
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.profiling.measuring import shipped_weights
from enhancers.runtime.loader import DEFAULT_BACKEND
from enhancers.training.patches import PatchSampler, TrainingPairs
from enhancers.training.trainer import TrainingSettings, fit

PRUNING_SHARE = 0.25
"""Of the training, that gates learn in; what is left trains after the cut."""
PROXY = "grad"
SCORED_PATCHES = 32
_CALIBRATION_FRAMES = 6
_CORRECTIONS = 4
"""Times that the channels are chosen anew, when what was cut turns out to take longer than was reckoned."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Derivation:
    """What to derive. size_px: of the frames (width, height). recipe: of all of the training. note: kept in the file.

    source_sha256: of the video that `pairs` are of; empty for many.
    """

    teacher: Weights
    pairs: Sequence[TrainingPairs]
    size_px: tuple[int, int]
    budget: Budget
    recipe: TrainingSettings
    seed: int = 0
    note: str = ""
    source_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Derived:
    """A network within its budget. ms: of a frame here, measured. teacher_ms: the same of the teacher.

    cells: what each network that might have been begun from promised. operator_error: of the table of latencies.
    """

    network: DerivedNetwork
    ms: float
    teacher_ms: float
    peak_mb: float
    cell: PlainArchitecture
    cells: Mapping[str, float]
    operator_error: float
    seconds: float


def derive(
    wanted: Derivation, progress: ShareListener, *, costs: CostModel | None = None, latency: Latency | None = None
) -> Derived:
    """Raises InputError for a budget that no network keeps.

    costs: by `measure_costs`, where they are known already. latency: how long networks take, by default measured here.
    The budget is for this machine (`times_of`).
    """
    began_s = time.monotonic()
    timed = latency or (lambda network: measure_ms(network, wanted.size_px))
    progress("Measuring operators", 0.0)
    costs = costs or measure_costs(wanted, latency)
    cells = _cells(wanted, costs)
    sampler = sampler_of(wanted.pairs, wanted.teacher.architecture, wanted.seed)
    batch = sampler.batch(0, SCORED_PATCHES)
    scores = {each: PROXIES[PROXY](each, batch, wanted.teacher, wanted.seed) for each in cells}
    cell = max(scores, key=lambda each: scores[each])
    small, tensors, ms = prune(cell, wanted, costs, sampler, timed, progress)
    trained = fine_tune(small, tensors, wanted, sampler, progress)
    network = pack(small, trained, wanted)
    if len(network.data) > wanted.budget.bytes:
        raise InputError(f"{small} takes {len(network.data)} bytes; the budget has {wanted.budget.bytes:.0f}.")
    return Derived(
        network=network,
        ms=ms,
        teacher_ms=timed(wanted.teacher.architecture),
        peak_mb=float(costs.smooth_peak_mb([torch.tensor(float(each)) for each in small.channels])),
        cell=cell,
        cells={str(each): score for each, score in scores.items()},
        operator_error=costs.latency.error,
        seconds=time.monotonic() - began_s,
    )


def times_of(profile: DeviceProfile, teacher: PlainArchitecture) -> float:
    """How many times as long as this machine the profiled device takes for a frame. Raises InputError.

    By one of our tiers that the profile tells of: in one thread, of the teacher's scale and depth where it can be had.
    The profile's networks have a chroma part; so has the one that is timed here.
    """
    tiers = {str(catalog.architecture(scale, tier)): tier for scale in catalog.SQUEEZES for tier in catalog.TIER_DEPTHS}
    known = [each for each in profile.measurements if each.architecture in tiers]
    if not known:
        raise InputError("The profile tells of none of our networks: measure the device with toprung profile.")

    def strangeness(row: Measurement) -> tuple[bool, bool, bool, int]:
        network = parse(row.architecture)
        usual = row.backend == DEFAULT_BACKEND and row.threads == 1
        return not usual, row.runs == 0, network.scale != teacher.scale, abs(network.depth - teacher.depth)

    row = min(known, key=strangeness)
    network, size_px = parse(row.architecture), (row.width_px, row.height_px)
    here_ms = measure_ms(network, size_px, shipped_weights(network.scale, tiers[row.architecture]))
    return row.p50_ms / here_ms


def measure_costs(wanted: Derivation, latency: Latency | None = None) -> CostModel:
    """Costs of networks on the teacher's grid, on this machine."""
    like = wanted.teacher.architecture
    return CostModel(like=like, size_px=wanted.size_px, latency=measure_operators(like, wanted.size_px, latency))


def sampler_of(pairs: Sequence[TrainingPairs], network: PlainArchitecture, seed: int) -> PatchSampler:
    """Patches as trainings of titles take them."""
    return PatchSampler(pairs, patch_px=32 * network.squeeze, seed=seed, flips=False)


def prune(
    cell: PlainArchitecture,
    wanted: Derivation,
    costs: CostModel,
    sampler: PatchSampler,
    timed: Callable[[PlainArchitecture], float],
    progress: ShareListener,
) -> tuple[PlainArchitecture, dict[str, Tensor], float]:
    """Train the teacher's first blocks with gates, then cut: the network, its collapsed weights, its milliseconds.

    Raises InputError where none keeps the budget.
    """
    whole = wanted.teacher.architecture.with_channels([wanted.teacher.architecture.width] * (cell.depth + 1))
    trunk = GatedTrunk(whole, wanted.seed)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in wanted.teacher.tensors.items()}
    if cell.depth not in wanted.teacher.exits:
        tensors |= solve_tail(whole, tensors, sampler.batch(0, SCORED_PATCHES))[0]
    trunk.absorb(tensors)
    trunk.open_by_weight()
    recipe = _share(wanted.recipe, PRUNING_SHARE)
    run = GateRun(trunk, recipe, "cpu", costs, wanted.budget)
    trained = run.finish(sampler, None, lambda done, _: progress("Pruning", PRUNING_SHARE * done))
    worth = run.worth()
    budget, ms = wanted.budget, math.inf
    for _ in range(_CORRECTIONS):
        kept = choose_channels(worth, costs, budget)
        small, tensors = slice_channels(whole, trained.tensors, kept)
        ms = timed(small)
        if ms <= wanted.budget.ms or all(len(each) == GROUP for each in kept):
            break
        budget = replace(budget, ms=budget.ms * wanted.budget.ms / ms)
    if ms > wanted.budget.ms:
        raise InputError(
            f"No network keeps the budget {wanted.budget} by the clock: the smallest that was cut, {small}, takes "
            f"{ms:.1f} ms on frames of {wanted.size_px[0]}x{wanted.size_px[1]}. Give more, or lift a smaller rung."
        )
    return small, tensors, ms


def fine_tune(
    network: PlainArchitecture,
    tensors: Mapping[str, Tensor],
    wanted: Derivation,
    sampler: PatchSampler,
    progress: ShareListener,
) -> dict[str, Tensor]:
    """Train what is left for what is left of the time; collapsed weights."""
    trunk = PlainTrunk(network, (network.depth,), wanted.seed)
    trunk.absorb(tensors)
    left = 1 - PRUNING_SHARE

    def report(done: float, _loss: float) -> None:
        progress("Training", PRUNING_SHARE + left * done)

    return fit(trunk, sampler, _share(wanted.recipe, left), report=report).tensors


def pack(network: PlainArchitecture, tensors: Mapping[str, Tensor], wanted: Derivation) -> DerivedNetwork:
    """Calibrated on frames of the pairs, in eight bits, as one file."""
    weights = Weights(
        architecture=network,
        exits=(network.depth,),
        tensors={name: tensor.numpy() for name, tensor in tensors.items()},
        source_sha256=wanted.source_sha256,
        note=wanted.note,
    )
    low = wanted.pairs[0].low
    [data] = dumps_chunks(calibrate(weights, low[:: max(1, len(low) // _CALIBRATION_FRAMES)]), storage="I8")
    return loads_derived(data)


def _cells(wanted: Derivation, costs: CostModel) -> tuple[PlainArchitecture, ...]:
    cells = list_cells(costs, wanted.budget, wanted.teacher.exits)
    if not cells:
        narrowest = costs.latency.predict_ms([GROUP, GROUP])
        raise InputError(
            f"No network keeps the budget {wanted.budget}: one block of {GROUP} channels takes {narrowest:.1f} ms "
            f"on frames of {wanted.size_px[0]}x{wanted.size_px[1]}. Give more, or lift a smaller rung."
        )
    return cells


def _share(recipe: TrainingSettings, share: float) -> TrainingSettings:
    own = replace(recipe, exit_weights=(1.0,))
    return replace(
        own, steps=max(1, round(recipe.steps * share)) if recipe.steps else 0, seconds=recipe.seconds * share
    )

"""Derived networks against simpler ways of being small: equal latency, equal training, frames that none has seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from abr.progress import ShareListener
from abr.quality.vmaf import Luma, crop, score_pairs
from enhancers.deriving.budget import Budget
from enhancers.deriving.costs import CostModel
from enhancers.deriving.derive import Derivation, fine_tune, measure_costs, prune, sampler_of
from enhancers.deriving.operator_latency import GROUP
from enhancers.deriving.proxies import PROXIES
from enhancers.deriving.slicing import inherit
from enhancers.deriving.tails import solve_tail
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.networks.plain import PlainArchitecture
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.runtime.backends.torch_eager import TorchNetwork
from enhancers.runtime.frames import decode_file
from enhancers.training.degrade import make_rung_pairs
from enhancers.training.patches import PatchSampler, TrainingPairs
from enhancers.training.trainer import TrainingSettings, fit

_CRF, _KEPT, _HELD = 28.0, 40, 4
"""One kept frame in so many is held out of the training."""
_TEST_FRAMES = 8
_NEAR = 0.06
"""Random cells take as long as the budget, but for this share."""

Row = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """Some seconds of a film as a rung, to train on and to be judged by, and the generic network as a teacher."""

    train: TrainingPairs
    test: TrainingPairs
    teacher: Weights

    @property
    def size_px(self) -> tuple[int, int]:
        """Of the rung."""
        height, width = self.train.low.shape[1:]
        return width, height

    def wanted(self, budget: Budget, steps: int, seed: int) -> Derivation:
        """What to derive of it."""
        recipe = TrainingSettings(steps=steps, detail_weight=0.05, exit_weights=(1.0,))
        pairs = [self.train]
        return Derivation(
            teacher=self.teacher, pairs=pairs, size_px=self.size_px, budget=budget, recipe=recipe, seed=seed
        )

    def vmaf_neg(self, network: PlainArchitecture | None, tensors: Mapping[str, Tensor]) -> float:
        """Mean of the held frames; plainly scaled without a network."""
        lift = _lift(network, tensors) if network else None

        def meter() -> Iterator[tuple[Luma, Luma]]:
            for low, plain, target in zip(self.test.low, self.test.plain, self.test.target, strict=True):
                truth = crop(target, self.test.box)
                yield truth, crop(plain if lift is None else lift.run(low, plain), self.test.box)
                yield truth, truth
                yield truth, truth

        _, _, width_px, height_px = self.test.box
        scores = score_pairs(meter(), width_px=width_px, height_px=height_px, fps=25, every_frames=3)
        return round(float(scores.vmaf_neg.mean()), 2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """A random network: its row, what each proxy says of it, and what it came to."""

    row: Row
    scores: Mapping[str, float]
    vmaf_neg: float


def read_subject(clip: Path, scale: float, skip: int, frames: int, depth: int) -> Subject:
    """`frames` of a clip from `skip` on. depth: the teacher's, one of the exits. Raises MediaError."""
    film = list(islice(decode_file(str(clip)), skip, skip + frames))
    pairs = make_rung_pairs(film, scale, _CRF, height_max_px=720, keep=_KEPT)
    held = np.arange(len(pairs.low)) % _HELD == _HELD - 1
    teacher = loads_chunks(catalog.generic_chunks(catalog.architecture(scale).at_exit(depth)))
    test = np.flatnonzero(held)[:_TEST_FRAMES]
    return Subject(train=_some(pairs, np.flatnonzero(~held)), test=_some(pairs, test), teacher=teacher)


def compare(
    subject: Subject,
    costs: CostModel,
    shares: Sequence[float],
    steps: int,
    seeds: Sequence[int],
    progress: ShareListener,
) -> Iterator[Row]:
    """Plain, then for each seed the teacher trained as long, and for each share of its time the three ways."""
    whole = subject.teacher.architecture
    whole_ms = costs.latency.predict_ms(whole.channels)
    yield {"how": "plain", "vmaf_neg": subject.vmaf_neg(None, {})}
    for seed in seeds:
        wanted = subject.wanted(Budget(ms=whole_ms), steps, seed)
        sampler = sampler_of(wanted.pairs, whole, seed)
        trained = _train(whole, _tensors(subject.teacher), sampler, wanted)
        yield _row("teacher", seed, 1.0, whole, whole_ms, subject.vmaf_neg(whole, trained))
        for share in shares:
            own = replace(wanted, budget=Budget(ms=share * whole_ms))
            small, tensors, ms = prune(whole, own, costs, sampler, _by_table(costs), progress)
            tuned = fine_tune(small, tensors, own, sampler, progress)
            yield _row("derived", seed, share, small, ms, subject.vmaf_neg(small, tuned))
            narrow = _widest(whole, costs, ms)
            narrow_ms = costs.latency.predict_ms(narrow.channels)
            cut = _train(narrow, inherit(narrow, _tensors(subject.teacher)), sampler, own)
            yield _row("magnitude", seed, share, narrow, narrow_ms, subject.vmaf_neg(narrow, cut))
            fresh = _train(narrow, {}, sampler, own)
            yield _row("scratch", seed, share, narrow, narrow_ms, subject.vmaf_neg(narrow, fresh))


def rank_cells(subject: Subject, costs: CostModel, ms: float, count: int, steps: int, seed: int) -> Iterator[Cell]:
    """Random cells that take as long: what proxies say of each, and what training comes to."""
    wanted = subject.wanted(Budget(ms=ms), steps, seed)
    sampler = sampler_of(wanted.pairs, subject.teacher.architecture, seed)
    batch = sampler.batch(0, 32)
    for cell in random_cells(costs, ms, count, seed):
        scores = {name: round(proxy(cell, batch, subject.teacher, seed), 4) for name, proxy in PROXIES.items()}
        tensors = inherit(cell, _tensors(subject.teacher))
        if cell.depth not in subject.teacher.exits:
            tensors |= solve_tail(cell, tensors, batch)[0]
        trained = _train(cell, tensors, sampler, wanted)
        reached = subject.vmaf_neg(cell, trained)
        row = _row("cell", seed, 0.0, cell, costs.latency.predict_ms(cell.channels), reached) | {"scores": scores}
        yield Cell(row=row, scores=scores, vmaf_neg=reached)


def random_cells(costs: CostModel, ms: float, count: int, seed: int) -> list[PlainArchitecture]:
    """Networks of up to the teacher's blocks that take about `ms`, depth after depth by turns."""
    draw = random.Random(seed)
    widths = costs.latency.widths
    found: dict[int, set[tuple[int, ...]]] = {}
    for depth in range(1, costs.like.depth + 1):
        for _ in range(600):
            channels = tuple(draw.choice(widths) for _ in range(depth + 1))
            if abs(costs.latency.predict_ms(channels) / ms - 1) < _NEAR:
                found.setdefault(depth, set()).add(channels)
    picked: list[tuple[int, ...]] = []
    while len(picked) < count and any(found.values()):
        for depth in sorted(found):
            if found[depth] and len(picked) < count:
                picked.append(draw.choice(sorted(found[depth] - set(picked)) or sorted(found[depth])))
                found[depth].discard(picked[-1])
    return [costs.like.with_channels(channels) for channels in picked]


def kendall_tau(scores: Sequence[float], reached: Sequence[float]) -> float:
    """Of two rankings without ties: 1 the same, -1 turned round."""
    pairs = [(i, j) for i in range(len(scores)) for j in range(i)]
    agree = [np.sign(scores[i] - scores[j]) * np.sign(reached[i] - reached[j]) for i, j in pairs]
    return float(np.mean(agree)) if agree else 0.0


def costs_of(subject: Subject) -> CostModel:
    """Measured here."""
    return measure_costs(subject.wanted(Budget(ms=1.0), 1, 0))


def _widest(whole: PlainArchitecture, costs: CostModel, ms: float) -> PlainArchitecture:
    """The widest network of equal layers, in single channels, that takes no longer."""
    count = whole.depth + 1
    widths = range(whole.width, 0, -1)
    width = next((each for each in widths if costs.latency.predict_ms([each] * count) <= ms + 0.01), GROUP)
    return whole.with_channels([width] * count)


def _by_table(costs: CostModel) -> Callable[[PlainArchitecture], float]:
    return lambda network: costs.latency.predict_ms(network.channels)


def _train(
    network: PlainArchitecture, tensors: Mapping[str, Tensor], sampler: PatchSampler, wanted: Derivation
) -> dict[str, Tensor]:
    trunk = PlainTrunk(network, (network.depth,), wanted.seed)
    trunk.absorb(tensors)
    return fit(trunk, sampler, wanted.recipe).tensors


def _lift(network: PlainArchitecture, tensors: Mapping[str, Tensor]) -> TorchNetwork:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return TorchNetwork(Weights(architecture=network, exits=(network.depth,), tensors=arrays), threads=1)


def _tensors(weights: Weights) -> dict[str, Tensor]:
    return {name: torch.from_numpy(tensor) for name, tensor in weights.tensors.items()}


def _some(pairs: TrainingPairs, which: np.ndarray) -> TrainingPairs:
    return TrainingPairs(low=pairs.low[which], plain=pairs.plain[which], target=pairs.target[which], box=pairs.box)


def _row(how: str, seed: int, share: float, network: PlainArchitecture, ms: float, vmaf_neg: float) -> Row:
    told: Row = {"how": how, "seed": seed, "share": share, "architecture": str(network)}
    return told | {"ms": round(ms, 2), "vmaf_neg": vmaf_neg}

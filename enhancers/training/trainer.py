"""Training of one trunk: L1, detail and structure at its exits, one-cycle AdamW, moving average, resumable."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from abr.files import write_atomically
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.training.detail_loss import DetailLoss
from enhancers.training.optimizer import AdamW
from enhancers.training.patches import PatchBatch, PatchSampler, Stack
from enhancers.training.structure_loss import StructureLoss

Trunk = TypeVar("Trunk", bound=nn.Module)
Batch = TypeVar("Batch")
BatchOut = TypeVar("BatchOut", covariant=True)

_BETA = 1e-3
"""Where the loss turns from square to linear: a quarter of a code value."""
DETAIL_WEIGHT = 0.1
"""Of the detail lost beside the L1 loss. More of it shows more and costs luma PSNR (see BENCHMARKS); 0 is for PSNR."""
_SAVE_EVERY_S = 15.0
_CLOCK_EVERY_STEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TrainingSettings:
    """How long and how to train. Ends at `steps`, or after `seconds` of training; the other is 0.

    With `steps` the result depends on the seed, the data and the thread count alone.
    exit_weights: the loss weight of each exit, cheapest first.
    detail_weight: of the detail lost beside the L1 loss, at the deepest exit; at each one before it `detail_step` less.
    structure_weight: of the structure lost beside both.
    """

    steps: int = 0
    seconds: float = 0.0
    batch: int = 16
    rate: float = 1e-3
    warm_up: float = 0.05
    average_decay: float = 0.998
    exit_weights: tuple[float, ...] = (0.3, 0.3, 1.0)
    detail_weight: float = DETAIL_WEIGHT
    detail_step: float = 0.0
    threads: int = 1
    structure_weight: float = 0.0

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.seconds > 0):
            raise ValueError("a recipe ends either after a number of steps or after a number of seconds")

    def __repr__(self) -> str:
        """Part of the key of unfinished training (`enhancers.work_folder`): another text would start such work anew."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        if not self.structure_weight:
            del told["structure_weight"]
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    def progress(self, steps: int, seconds: float) -> float:
        """How far training is, 0–1."""
        return min(1.0, steps / self.steps if self.steps else seconds / self.seconds)

    def detail_at(self, exit_: int) -> float:
        """The weight of the detail lost at the `exit_`-th exit, cheapest first."""
        return max(0.0, self.detail_weight - self.detail_step * (len(self.exit_weights) - 1 - exit_))

    def rate_at(self, progress: float) -> float:
        """Linear warm-up, then a cosine down to a hundredth (Smith and Topin 2019: one cycle)."""
        if progress < self.warm_up:
            return self.rate * max(0.02, progress / self.warm_up)
        cosine = 0.5 + 0.5 * float(np.cos(np.pi * (progress - self.warm_up) / (1 - self.warm_up)))
        return self.rate * (0.01 + 0.99 * cosine)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedTrunk:
    """The result of a training: collapsed weights of the moving average, steps and seconds."""

    tensors: dict[str, Tensor]
    steps: int
    seconds: float


def train_device() -> str:
    """The device that training runs on."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def half_precision(device: str) -> AbstractContextManager[object]:
    """Convolutions in bfloat16 where the device computes it: a processor that imitates it takes ten times as long."""
    known = torch.cpu.get_capabilities()
    quick = device != "cpu" or any(known.get(each) for each in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.autocast(device, torch.bfloat16, enabled=quick)


def fit(
    trunk: PlainTrunk,
    sampler: PatchSampler,
    recipe: TrainingSettings,
    *,
    state: Path | None = None,
    report: Callable[[float, float], None] = lambda _progress, _loss: None,
) -> TrainedTrunk:
    """Train `trunk`. `report` is told progress (0–1) and the last loss now and then.

    When `state` is given, training is saved there every few seconds and goes on from there if it exists.
    """
    return LumaRun(trunk, recipe, train_device()).finish(sampler, state, report)


class Sampler(Protocol[BatchOut]):
    """Where batches come from: the `step`-th of `size` patches."""

    def batch(self, step: int, size: int) -> BatchOut:
        """Always the same for one step."""
        ...


class TrainingRun(ABC, Generic[Trunk, Batch]):
    """A training in progress: parameters, their average, optimizer state, and how far it is."""

    def __init__(self, trunk: Trunk, recipe: TrainingSettings, device: str) -> None:
        self.recipe = recipe
        self.device = device
        self.trunk = trunk.to(device)
        self.parameters = list(trunk.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.optimizer = AdamW(self.parameters, recipe.rate)
        self.steps = 0
        self.seconds = 0.0

    def finish(
        self, sampler: Sampler[Batch], state: Path | None, report: Callable[[float, float], None]
    ) -> TrainedTrunk:
        """Train to the end, from `state` on if there is one. See `fit`."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.recipe.threads)
        try:
            if state is not None:
                self.load(state)
            self._train(sampler, state, report)
            return self._result()
        finally:
            torch.set_num_threads(before)

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a step minimises, and what it reports."""

    @abstractmethod
    def collapsed(self) -> dict[str, Tensor]:
        """The trunk's weights as it runs."""

    def _train(self, sampler: Sampler[Batch], state: Path | None, report: Callable[[float, float], None]) -> None:
        last, saved_s = time.perf_counter(), self.seconds
        while (progress := self.recipe.progress(self.steps, self.seconds)) < 1.0:
            self.optimizer.rate = self.recipe.rate_at(progress)
            loss = self.step(sampler.batch(self.steps, self.recipe.batch))
            self.steps += 1
            now = time.perf_counter()
            self.seconds, last = self.seconds + now - last, now
            if self.steps % _CLOCK_EVERY_STEPS == 0:
                report(progress, float(loss))
            if state is not None and self.seconds - saved_s > _SAVE_EVERY_S:
                self.save(state)
                saved_s = self.seconds
        if state is not None:
            self.save(state)

    def step(self, batch: Batch) -> Tensor:
        """Train on one batch. Returns what is reported of it."""
        loss, reported = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        decay = min(self.recipe.average_decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        return reported.detach()

    def averaged(self) -> TrainedTrunk:
        """The result so far, of the moving average; training can go on as if nothing had been asked."""
        kept = [parameter.detach().clone() for parameter in self.parameters]
        try:
            return self._result()
        finally:
            self._assign(kept)

    def _result(self) -> TrainedTrunk:
        self._assign(self.average)
        tensors = {name: tensor.float().cpu() for name, tensor in self.collapsed().items()}
        return TrainedTrunk(tensors=tensors, steps=self.steps, seconds=self.seconds)

    @torch.no_grad()
    def _assign(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def save(self, path: Path) -> None:
        """Write the whole state: a killed run leaves the state before. Raises StorageError."""
        tensors = {}
        for index, parameter in enumerate(self.parameters):
            tensors[f"parameter{index}"] = parameter.detach().contiguous()
            tensors[f"average{index}"] = self.average[index].contiguous()
            for name, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{name}{index}"] = value.contiguous()
        write_atomically(path, save(tensors, {"steps": str(self.steps), "seconds": repr(self.seconds)}))

    def load(self, path: Path) -> None:
        """Go on from a saved state; one that does not fit (another recipe or a damaged file) is ignored."""
        if not path.exists():
            return
        try:
            with safe_open(path, "pt", device=self.device) as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return
        shapes = [
            tuple(tensors[f"parameter{i}"].shape) for i in range(len(self.parameters)) if f"parameter{i}" in tensors
        ]
        if shapes != [tuple(parameter.shape) for parameter in self.parameters]:
            return
        with torch.no_grad():
            for index, parameter in enumerate(self.parameters):
                parameter.copy_(tensors[f"parameter{index}"])
                self.average[index].copy_(tensors[f"average{index}"])
                names = ("step", "exp_avg", "exp_avg_sq")
                self.optimizer.state[parameter] = {name: tensors[f"{name}{index}"] for name in names}
        self.steps, self.seconds = int(metadata["steps"]), float(metadata["seconds"])


class LumaRun(TrainingRun[PlainTrunk, PatchBatch]):
    """The training of a trunk with its exits."""

    def loss(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """See TrainingRun."""
        low, plain, target = (self._tensor(part) for part in (batch.low, batch.plain, batch.target))
        shares = self._shares()
        with half_precision(self.device):
            residuals = self.trunk(low, tuple(shares))
        wanted = target - plain
        losses = [functional.smooth_l1_loss(residual.float(), wanted, beta=_BETA) for residual in residuals]
        if self.recipe.detail_weight:
            detail = DetailLoss(target)
            weights = (self.recipe.detail_at(self.trunk.exits.index(depth)) for depth in shares)
            lost = (detail.lost(plain + residual.float()) for residual in residuals)
            losses = [loss + weight * share for loss, weight, share in zip(losses, weights, lost, strict=True)]
        if weight := self.recipe.structure_weight:
            structure = StructureLoss(target)
            lost = (structure.lost(plain + residual.float()) for residual in residuals)
            losses = [loss + weight * share for loss, share in zip(losses, lost, strict=True)]
        total = torch.stack([share * loss for share, loss in zip(shares.values(), losses, strict=True)]).sum()
        return total, losses[-1]

    def collapsed(self) -> dict[str, Tensor]:
        """See TrainingRun."""
        return self.trunk.collapse()

    def _shares(self) -> dict[int, float]:
        """Loss weight of the exits that this step trains: the deepest, and one of the others, in rotation."""
        *shallow, deepest = zip(self.trunk.exits, self.recipe.exit_weights, strict=True)
        by_turns = {depth: weight * len(shallow) for depth, weight in shallow[self.steps % max(1, len(shallow)) :][:1]}
        return by_turns | dict([deepest])

    def _tensor(self, part: Stack) -> Tensor:
        return (
            torch.from_numpy(np.ascontiguousarray(part))
            .to(self.device)
            .unsqueeze(1)
            .to(memory_format=torch.channels_last)
            .float()
            / 255
        )

"""A network of one rung that learns a stream while it runs, as LiveNAS has it (SIGCOMM 2020, section 5).

It goes on from the generic weights, with patches of a replay buffer, at a constant rate: who knows when a stream ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from abr.core.enhancement import Tier
from enhancers.networks import catalog
from enhancers.networks.calibrate import calibrate
from enhancers.networks.catalog import exits_of
from enhancers.networks.checkpoint import Weights, dumps_chunks, loads_chunks
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.training.patches import PatchBatch, PatchSampler, Stack, TrainingPairs
from enhancers.training.replay import ReplayBuffer
from enhancers.training.title_weights import PATCH_PX, STORAGE
from enhancers.training.trainer import DETAIL_WEIGHT, LumaRun, TrainingSettings

REPLAY_BYTES_MAX = 96 << 20
PATCHES_A_FRAME = 24
RATE = 5e-4
AVERAGE_DECAY = 0.99
"""The moving average forgets in a hundred steps: a stream goes on."""
WARM_UP_STEPS = 20
LOSS_PATCHES = 16


class OnlineTrainer:
    """Trains the network of one rung, of scale `scale`. Deterministic for a seed, the data and the steps."""

    def __init__(
        self,
        scale: float,
        tiers: Sequence[Tier],
        *,
        start: Sequence[bytes] = (),
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        """start: the chunks of a network of that architecture, to go on from in the place of the generic one.

        Raises FormatError for damaged ones.
        """
        self._full, self._exits, self._seed = catalog.architecture(scale), exits_of(tiers), seed
        generic = loads_chunks(catalog.generic_chunks(self._full))
        trunk = PlainTrunk(self._full.at_exit(self._exits[-1]), self._exits, seed)
        trunk.absorb({name: torch.from_numpy(tensor) for name, tensor in generic.tensors.items()})
        if start:
            begun = loads_chunks(start, what="the network to start from")
            trunk.absorb({name: torch.from_numpy(tensor) for name, tensor in begun.tensors.items()})
        settings = TrainingSettings(
            steps=1 << 40,
            exit_weights=(*(0.3 for _ in self._exits[:-1]), 1.0),
            average_decay=AVERAGE_DECAY,
            detail_weight=DETAIL_WEIGHT,
            threads=threads,
        )
        self._run = LumaRun(trunk, settings, "cpu")
        self._buffer = ReplayBuffer(REPLAY_BYTES_MAX, seed=seed)
        self._low: Stack | None = None

    @property
    def steps(self) -> int:
        """Of training, so far."""
        return self._run.steps

    @property
    def is_ready(self) -> bool:
        """Whether there is anything to learn from."""
        return len(self._buffer) > 0

    @torch.no_grad()
    def loss(self, pairs: TrainingPairs, segment: int) -> float:
        """Mean absolute error on patches of new frames, as a share of what plain scaling has there.

        Raises MediaError when no patch can be cut from them.
        """
        patches = self._patches(pairs, segment, LOSS_PATCHES)
        low, plain, target = (
            torch.from_numpy(part).unsqueeze(1).float() / 255 for part in (patches.low, patches.plain, patches.target)
        )
        residual = self._run.trunk(low)[-1]
        return float((target - plain - residual).abs().mean() / (target - plain).abs().mean().clamp_min(1e-4))

    def _patches(self, pairs: TrainingPairs, segment: int, count: int) -> PatchBatch:
        sampler = PatchSampler([pairs], patch_px=PATCH_PX * self._full.squeeze, seed=self._seed, flips=False)
        return sampler.batch(segment, count)

    def add(self, pairs: TrainingPairs, segment: int) -> None:
        """Frames of a new segment. Raises MediaError when no patch can be cut from them."""
        self._buffer.add(self._patches(pairs, segment, PATCHES_A_FRAME * len(pairs.low)), segment)
        self._low = pairs.low if self._low is None else np.concatenate([self._low[-4:], pairs.low])

    def learn(self, steps: int, rest: Callable[[], None] = lambda: None) -> None:
        """Train; `rest` is called after each step. Nothing happens before anything was added."""
        if not len(self._buffer):
            return
        torch.set_num_threads(self._run.recipe.threads)
        for _ in range(steps):
            self._run.optimizer.rate = RATE * min(1.0, (self._run.steps + 1) / WARM_UP_STEPS)
            self._run.step(self._buffer.batch(self._run.steps, self._run.recipe.batch))
            self._run.steps += 1
            rest()

    def chunks(self, note: str = "") -> list[bytes]:
        """The network as it is now, in eight bits, one chunk an exit. Something must have been added."""
        assert self._low is not None
        weights = Weights(
            architecture=self._full.at_exit(self._exits[-1]),
            exits=self._exits,
            tensors={name: tensor.numpy() for name, tensor in self._run.averaged().tensors.items()},
            note=note,
        )
        return dumps_chunks(calibrate(weights, self._low), storage=STORAGE)

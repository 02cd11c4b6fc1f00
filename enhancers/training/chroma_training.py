"""Training of a chroma part: patches of all three planes, chosen by how hard their chroma is, and Charbonnier loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from abr.errors import MediaError
from abr.quality.vmaf import is_black
from enhancers.networks.checkpoint import Weights
from enhancers.networks.chroma import ChromaArchitecture, Folded, fold_planes
from enhancers.networks.plain_torch import ChromaTrunk
from enhancers.training.patches import ChromaStacks, Stack, TrainingPairs
from enhancers.training.trainer import TrainedTrunk, TrainingRun, TrainingSettings, half_precision, train_device

_PATCH = 24
"""Positions of the working grid along a patch's side."""
_STEP = 12
_FLOOR = 0.05
_EPSILON = 1e-3
_SQUARED = 20.0
"""Weight of the squared error beside Charbonnier's: large errors are what an eye sees as a lost colour."""
_RATE, _GENTLE_RATE = 4e-3, 1e-3
"""Learning rate on one title from ×3 on, and on many films or at half resolution, where the last block died at the
former (no channel of it above 0 any more) and nothing was added."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChromaBatch:
    """folded: int8 (B, inputs, p, p). wanted: int16 (B, 2, p·shuffle, p·shuffle), source less plain in code values."""

    folded: Folded
    wanted: npt.NDArray[np.int16]


class ChromaSampler:
    """Draws from all videos alike, in each with a probability that grows with the error of plain chroma there (RMSE).

    Raises MediaError when no frame is large and bright enough for one patch.
    """

    def __init__(
        self, pairs: Sequence[TrainingPairs], architecture: ChromaArchitecture, *, seed: int, flips: bool
    ) -> None:
        self._pairs, self._architecture, self._seed, self._flips = pairs, architecture, seed, flips
        cells = [_cells(index, video, architecture) for index, video in enumerate(pairs)]
        self._places = np.concatenate([places for places, _ in cells])
        if not len(self._places):
            raise MediaError("There is no chroma to train on: no frame is large enough and brighter than black.")
        shares = [weights / weights.sum() for _, weights in cells if len(weights)]
        self._probabilities = np.cumsum(np.concatenate(shares)) / len(shares)

    def batch(self, step: int, size: int) -> ChromaBatch:
        """The `step`-th batch of `size` patches, always the same."""
        random = np.random.default_rng((self._seed, step))
        chosen = np.searchsorted(self._probabilities, random.random(size)).clip(max=len(self._places) - 1)
        folded, wanted = zip(*(self._patch(self._places[place], random) for place in chosen), strict=True)
        return ChromaBatch(folded=np.stack(folded), wanted=np.stack(wanted))

    def _patch(self, place: npt.NDArray[np.int64], random: np.random.Generator) -> tuple[Folded, npt.NDArray[np.int16]]:
        video, frame, *corner, bottom_max, right_max = place
        pairs, turn = self._pairs[video], int(random.integers(8)) if self._flips else 0
        stacks = _chroma_of(pairs)
        top, left = np.minimum(corner + random.integers(0, _STEP, 2), (bottom_max, right_max))

        def cut(planes: Stack, unit: int) -> Stack:
            window = planes[..., top * unit : (top + _PATCH) * unit, left * unit : (left + _PATCH) * unit]
            return np.rot90(window.swapaxes(-1, -2) if turn & 4 else window, turn & 3, axes=(-2, -1))

        low = cut(stacks.low[frame], self._architecture.squeeze)
        folded = fold_planes(self._architecture, cut(pairs.low[frame], self._architecture.luma_fold), low[0], low[1])
        shuffle = self._architecture.shuffle
        wanted = cut(stacks.target[frame], shuffle).astype(np.int16) - cut(stacks.plain[frame], shuffle)
        return folded, wanted


def train_chroma(
    pairs: Sequence[TrainingPairs],
    architecture: ChromaArchitecture,
    recipe: TrainingSettings,
    *,
    seed: int,
    start: Weights | None = None,
    flips: bool = False,
    state: Path | None = None,
    report: Callable[[float, float], None] = lambda _progress, _loss: None,
) -> TrainedTrunk:
    """Train a chroma part, from that of `start` on where it is of the same shape. Of `recipe`, its length counts."""
    trunk = ChromaTrunk(architecture, seed)
    if start and start.chroma == architecture:
        trunk.absorb({name: torch.from_numpy(tensor) for name, tensor in start.tensors.items()})
    sampler = ChromaSampler(pairs, architecture, seed=seed, flips=flips)
    rate = _RATE if len(pairs) == 1 and architecture.squeeze == 1 else _GENTLE_RATE
    run = _ChromaRun(trunk, replace(recipe, rate=rate), train_device())
    return run.finish(sampler, state, report)


class _ChromaRun(TrainingRun[ChromaTrunk, ChromaBatch]):
    """The training of one chroma part."""

    def loss(self, batch: ChromaBatch) -> tuple[Tensor, Tensor]:
        """See TrainingRun."""
        x, wanted = (torch.from_numpy(part).to(self.device).float() / 255 for part in (batch.folded, batch.wanted))
        with half_precision(self.device):
            cells = self.trunk(x.contiguous(memory_format=torch.channels_last))
        error = functional.pixel_shuffle(cells.float(), self.trunk.architecture.shuffle) - wanted
        squared = error.square()
        loss = (squared + _EPSILON**2).sqrt().mean() + _SQUARED * squared.mean()
        return loss, loss

    def collapsed(self) -> dict[str, Tensor]:
        """See TrainingRun."""
        return self.trunk.collapse()


def fold_some(architecture: ChromaArchitecture, pairs: TrainingPairs, count: int) -> Folded:
    """About `count` of the frames of `pairs` as the network takes them: (N, inputs, rows, columns)."""
    stacks = _chroma_of(pairs)
    frames = range(0, len(pairs.low), max(1, len(pairs.low) // count))
    return np.stack([fold_planes(architecture, pairs.low[frame], *stacks.low[frame]) for frame in frames])


def _chroma_of(pairs: TrainingPairs) -> ChromaStacks:
    if pairs.chroma is None:
        raise ValueError("these training pairs have no chroma")
    return pairs.chroma


def _cells(
    index: int, pairs: TrainingPairs, architecture: ChromaArchitecture
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Places (video, frame, top, left, lowest top, rightmost left) in positions of the grid, and how hard each is."""
    stacks, shuffle = _chroma_of(pairs), architecture.shuffle
    x, y, width, height = pairs.box
    left, top = -(-x // (2 * shuffle)), -(-y // (2 * shuffle))
    inside = stacks.low.shape[-1] // architecture.squeeze, stacks.low.shape[-2] // architecture.squeeze
    right, bottom = (
        min(edge // (2 * shuffle), most) - _PATCH for edge, most in zip((x + width, y + height), inside, strict=True)
    )
    places, errors = [], []
    for frame in range(len(pairs.low)):
        if is_black(pairs.target[frame]):
            continue
        squared = ((stacks.plain[frame].astype(np.float32) - stacks.target[frame]) ** 2).sum(0)
        for row in range(top, bottom + 1, _STEP):
            for column in range(left, right + 1, _STEP):
                window = squared[
                    row * shuffle : (row + _PATCH) * shuffle, column * shuffle : (column + _PATCH) * shuffle
                ]
                places.append((index, frame, row, column, bottom, right))
                errors.append(float(window.mean()) ** 0.5)
    weights = np.array(errors, dtype=np.float64)
    weights += _FLOOR * weights.mean() + 1e-6 if len(weights) else 0.0
    return np.array(places, dtype=np.int64).reshape(-1, 6), weights

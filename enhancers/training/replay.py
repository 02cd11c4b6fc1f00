"""Patches of a running stream to learn from: a memory of bounded size that forgets easy and old ones first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enhancers.training.patches import PatchBatch

HALF_LIFE_SEGMENTS = 30.0
"""A patch counts half as much as one that came so many segments later and is as hard."""
_FLOOR = 0.05
"""Share of the mean difficulty that even the easiest patch is given."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    patches: PatchBatch
    difficulty: npt.NDArray[np.float64]
    segment: npt.NDArray[np.int64]


class ReplayBuffer:
    """Patches of all segments so far, at most `bytes_max` of them.

    Both what stays and what is drawn go by weight: how hard a patch is (RMSE of plain scaling), halved with age.
    """

    def __init__(self, bytes_max: int, *, seed: int) -> None:
        self._bytes_max, self._seed = bytes_max, seed
        self._held: _Held | None = None
        self._probabilities = np.zeros(0)

    def __len__(self) -> int:
        return 0 if self._held is None else len(self._held.segment)

    @property
    def stored_bytes(self) -> int:
        """Of the pictures."""
        held = self._held
        return 0 if held is None else sum(part.nbytes for part in _stacks(held.patches))

    def add(self, patches: PatchBatch, segment: int) -> None:
        """Patches of one segment; then what weighs least goes, until the rest fits."""
        squared = np.square(patches.target.astype(np.float32) - patches.plain).mean((1, 2))
        came = _Held(patches, np.sqrt(squared).astype(np.float64), np.full(len(squared), segment))
        held = came if self._held is None else _joined(self._held, came)
        weights = _weights(held)
        room = self._bytes_max // sum(part[0].nbytes for part in _stacks(patches))
        if len(weights) > room:
            kept = np.sort(np.argsort(-weights, kind="stable")[:room])
            held, weights = _only(held, kept), weights[kept]
        self._held, self._probabilities = held, np.cumsum(weights / weights.sum())

    def batch(self, step: int, size: int) -> PatchBatch:
        """`size` patches, the same for one step as long as nothing is added. There must be some."""
        assert self._held is not None
        random = np.random.default_rng((self._seed, step))
        chosen = np.searchsorted(self._probabilities, random.random(size)).clip(max=len(self) - 1)
        return _only(self._held, chosen).patches


def _weights(held: _Held) -> npt.NDArray[np.float64]:
    age = held.segment.max() - held.segment
    weights: npt.NDArray[np.float64] = held.difficulty + _FLOOR * held.difficulty.mean() + 1e-6
    weights *= np.exp2(-age / HALF_LIFE_SEGMENTS)
    return weights


def _stacks(patches: PatchBatch) -> tuple[npt.NDArray[np.uint8], ...]:
    return patches.low, patches.plain, patches.target


def _joined(before: _Held, came: _Held) -> _Held:
    pairs = zip(_stacks(before.patches), _stacks(came.patches), strict=True)
    low, plain, target = (np.concatenate(pair) for pair in pairs)
    return _Held(
        PatchBatch(low=low, plain=plain, target=target),
        np.concatenate([before.difficulty, came.difficulty]),
        np.concatenate([before.segment, came.segment]),
    )


def _only(held: _Held, kept: npt.NDArray[np.int64]) -> _Held:
    low, plain, target = (part[kept] for part in _stacks(held.patches))
    return _Held(PatchBatch(low=low, plain=plain, target=target), held.difficulty[kept], held.segment[kept])

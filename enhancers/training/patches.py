"""Training pairs: decoded low rungs against the source, and patches of them chosen by how hard they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abr.errors import MediaError
from abr.quality.vmaf import Box, is_black
from enhancers.runtime.frames import Frame

Stack = npt.NDArray[np.uint8]
_FLOOR = 0.05
"""Share of the mean difficulty that even the easiest patch is given, so that no part of a picture is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChromaStacks:
    """The chroma of the same frames: uint8 (N, 2, rows, columns), u before v.

    low: as decoded. plain: `low` by the display scaler. target: the source.
    """

    low: Stack
    plain: Stack
    target: Stack


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingPairs:
    """Some frames of one video at one scale r, which may be 1.5. All uint8 luma, but for `chroma`, which may lack.

    low: (N, H, W) as decoded. plain: (N, r·H, r·W), `low` by the display scaler. target: (N, r·H, r·W), the source.
    box: the picture inside letterbox borders, in pixels of `target`: x, y, width, height.
    """

    low: Stack
    plain: Stack
    target: Stack
    box: Box
    chroma: ChromaStacks | None = None

    @property
    def scale(self) -> float:
        """How many times larger the target is, to the nearest half."""
        return round(2 * len(self.target[0]) / len(self.low[0])) / 2


class PairCollector:
    """Stacks frames as decoded, plainly scaled and of the source into training pairs."""

    def __init__(self) -> None:
        self._frames: list[tuple[Frame, Frame, Frame]] = []

    def add(self, low: Frame, plain: Frame, target: Frame) -> None:
        """The next frame. plain and target: of the network's size."""
        self._frames.append((low, plain, target))

    def pairs(self, box: Callable[[Stack], Box]) -> TrainingPairs:
        """All frames. box: of the picture in the target's luma (N, H, W)."""
        low, plain, target = (np.stack([frame.y for frame in part]) for part in zip(*self._frames, strict=True))
        chroma = (np.stack([(frame.u, frame.v) for frame in part]) for part in zip(*self._frames, strict=True))
        stacks = ChromaStacks(**dict(zip(("low", "plain", "target"), chroma, strict=True)))
        return TrainingPairs(low=low, plain=plain, target=target, box=box(target), chroma=stacks)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchBatch:
    """Patches, uint8: low (B, p, p), plain and target (B, r·p, r·p)."""

    low: Stack
    plain: Stack
    target: Stack


class PatchSampler:
    """Draws from all videos alike, in each with a probability that grows with the error of plain scaling there (RMSE).

    Stateless between batches: batch n of a seed is always the same, so that training can stop and go on.
    Raises MediaError when no frame is large and bright enough for one patch.
    """

    def __init__(self, pairs: Sequence[TrainingPairs], *, patch_px: int, seed: int, flips: bool) -> None:
        self._pairs = pairs
        self._patch_px = patch_px
        self._seed = seed
        self._flips = flips
        cells = [_cells(index, video, patch_px) for index, video in enumerate(pairs)]
        self._cells = np.concatenate([places for places, _ in cells])
        if not len(self._cells):
            raise MediaError(
                f"There is nothing to train on: no frame has a picture, brighter than black, of {patch_px}x{patch_px} "
                "pixels of the rung; the generic enhancers need no training (--generic-only)."
            )
        shares = np.concatenate([_shares(difficulty) for _, difficulty in cells])
        self._probabilities = np.cumsum(shares / shares.sum())

    def batch(self, step: int, size: int) -> PatchBatch:
        """The `step`-th batch of `size` patches."""
        random = np.random.default_rng((self._seed, step))
        chosen = np.searchsorted(self._probabilities, random.random(size)).clip(max=len(self._cells) - 1)
        patches = [self._patch(self._cells[cell], random) for cell in chosen]
        low, plain, target = (np.stack(stack) for stack in zip(*patches, strict=True))
        return PatchBatch(low=low, plain=plain, target=target)

    def _patch(self, cell: npt.NDArray[np.int64], random: np.random.Generator) -> tuple[Stack, Stack, Stack]:
        video, frame, top, left, bottom_max, right_max = cell
        pairs, size, scale = self._pairs[video], self._patch_px, self._pairs[video].scale
        jitter = random.integers(0, size // 2, 2)
        y, x = (
            _round_to_even(int(value)) for value in (min(top + jitter[0], bottom_max), min(left + jitter[1], right_max))
        )
        low = pairs.low[frame, y : y + size, x : x + size]
        y0, y1, x0, x1 = (int(edge * scale) for edge in (y, y + size, x, x + size))
        fine = (frame, slice(y0, y1), slice(x0, x1))
        patch = (low, pairs.plain[fine], pairs.target[fine])
        return _turn(patch, int(random.integers(8))) if self._flips else patch


def _shares(difficulty: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How often each patch of a video is drawn among all of it: they add up to 1, or to 0 when there is none."""
    if not len(difficulty):
        return difficulty
    weights: npt.NDArray[np.float64] = difficulty + _FLOOR * difficulty.mean() + 1e-6
    return weights / float(weights.sum())


def _round_to_even(place: int) -> int:
    """Networks that work at half resolution see pixels in pairs, and patches must see them in the same pairs."""
    return place & ~1


def _turn(patch: tuple[Stack, Stack, Stack], turn: int) -> tuple[Stack, Stack, Stack]:
    """One of the eight symmetries of a square."""
    low, plain, target = (np.rot90(part.T if turn & 4 else part, turn & 3) for part in patch)
    return low, plain, target


def _cells(index: int, pairs: TrainingPairs, patch_px: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Places (video, frame, top, left, lowest top, rightmost left) on a half-patch grid, and each one's difficulty."""
    scale, step = pairs.scale, max(1, patch_px // 2)
    left, top = (2 * math.ceil(edge / scale / 2) for edge in pairs.box[:2])
    right = int((pairs.box[0] + pairs.box[2]) / scale) - patch_px
    bottom = int((pairs.box[1] + pairs.box[3]) / scale) - patch_px
    places, difficulty = [], []
    for frame in range(len(pairs.low)):
        if is_black(pairs.target[frame]):
            continue
        error = _squared_error_sums(pairs.plain[frame], pairs.target[frame])
        for y in range(top, bottom + 1, step):
            for x in range(left, right + 1, step):
                y0, y1, x0, x1 = (int(edge * scale) for edge in (y, y + patch_px, x, x + patch_px))
                total = error[y1, x1] - error[y0, x1] - error[y1, x0] + error[y0, x0]
                places.append((index, frame, y, x, bottom, right))
                difficulty.append(np.sqrt(max(total, 0.0)))
    return np.array(places, dtype=np.int64).reshape(-1, 6), np.array(difficulty, dtype=np.float64)


def _squared_error_sums(a: Stack, b: Stack) -> npt.NDArray[np.float64]:
    """Summed-area table of (a − b)², shape (H + 1, W + 1)."""
    squared = (a.astype(np.float64) - b) ** 2
    return np.pad(squared.cumsum(0).cumsum(1), ((1, 0), (1, 0)))

"""Training pairs of degraded films, each with the code of its kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt

from abr.media.planes import luma_of
from enhancers.restoration.degradation import Degradation, Lumas, degrade
from enhancers.restoration.films import cut, shrunk
from enhancers.runtime.enhancer import PlainScaler

_HEIGHTS_PX = (360, 432, 540, 720)
_SIDE_PX = 320
_KEPT = (2, 4)
_FLOOR = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedBatch:
    """low: (B, p, p). plain, target: (B, r·p, r·p). All uint8. code: float32 (B, CODE_FLOATS)."""

    low: Lumas
    plain: Lumas
    target: Lumas
    code: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scene:
    low: Lumas
    plain: Lumas
    target: Lumas
    code: npt.NDArray[np.float32]


class CodedSampler:
    """Draws patches of many degraded scenes, harder ones more often. Batch n is always the same."""

    def __init__(
        self,
        films: Sequence[Lumas],
        draw: Callable[[int], Degradation],
        *,
        scenes: int,
        patch_px: int,
        seed: int,
    ) -> None:
        """draw: the degradation of a seed. patch_px: side of patches of the degraded picture, even."""
        self._patch_px, self._seed = patch_px, seed
        self._scenes = [self._scene(films, draw, seed * 1_000_000 + number) for number in range(scenes)]
        errors = [np.sqrt(((s.plain.astype(np.float32) - s.target) ** 2).mean()) for s in self._scenes]
        shares = np.array(errors) + _FLOOR * np.mean(errors)
        self._probabilities = np.cumsum(shares / shares.sum())

    @staticmethod
    def _scene(films: Sequence[Lumas], draw: Callable[[int], Degradation], seed: int) -> _Scene:
        random = np.random.default_rng((seed, 11))
        film = films[int(random.integers(len(films)))]
        heights = [height for height in _HEIGHTS_PX if height <= film.shape[1]] or [film.shape[1]]
        sharp = cut(shrunk(film, int(random.choice(heights))), _SIDE_PX, random)
        degradation = draw(seed)
        low = degrade(sharp, degradation)[list(_KEPT)]
        target = sharp[list(_KEPT), : low.shape[1] * degradation.scale, : low.shape[2] * degradation.scale]
        code = np.array(degradation.codes[0], np.float32)
        return _Scene(low=low, plain=scaled(low, degradation.scale), target=target, code=code)

    def batch(self, step: int, size: int) -> CodedBatch:
        """The `step`-th batch of `size` patches."""
        random = np.random.default_rng((self._seed, step))
        chosen = np.searchsorted(self._probabilities, random.random(size)).clip(max=len(self._scenes) - 1)
        patches = [self._patch(self._scenes[index], random) for index in chosen]
        low, plain, target, code = (np.stack(part) for part in zip(*patches, strict=True))
        return CodedBatch(low=low, plain=plain, target=target, code=code)

    def _patch(self, scene: _Scene, random: np.random.Generator) -> tuple[Lumas, Lumas, Lumas, npt.NDArray[np.float32]]:
        """The hardest of three places."""
        side, scale = self._patch_px, scene.target.shape[1] // scene.low.shape[1]
        frame, best = int(random.integers(len(scene.low))), (-1.0, 0, 0)
        for _ in range(3):
            y, x = (int(random.integers(0, (edge - side) // 2 + 1)) * 2 for edge in scene.low.shape[1:])
            here = (frame, slice(y * scale, (y + side) * scale, 2), slice(x * scale, (x + side) * scale, 2))
            error = float(((scene.plain[here].astype(np.float32) - scene.target[here]) ** 2).mean())
            best = max(best, (error, y, x))
        _, y, x = best
        fine = (frame, slice(y * scale, (y + side) * scale), slice(x * scale, (x + side) * scale))
        return scene.low[frame, y : y + side, x : x + side], scene.plain[fine], scene.target[fine], scene.code


def scaled(low: Lumas, scale: int) -> Lumas:
    """Pictures (frames, h, w) at `scale` times their size by the display scaler."""
    height, width = low.shape[1:]
    scaler = PlainScaler(width, height, width * scale, height * scale)
    pictures = (av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), format="gray8") for luma in low)
    return np.stack([luma_of(scaler.scale(picture, "gray8")).copy() for picture in pictures])

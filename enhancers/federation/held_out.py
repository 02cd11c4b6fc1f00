"""How well a tuned network does on clips with their truth: what the server keeps versions by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from abr.federation.version import ClipScore
from abr.quality.vmaf import Luma, crop, score_pairs
from enhancers.federation.tuned_network import TunedNetwork
from enhancers.runtime.backends.torch_eager import TorchNetwork
from enhancers.runtime.frames import decode_file
from enhancers.training.degrade import make_rung_pairs
from enhancers.training.patches import TrainingPairs

FRAMES, KEEP = 96, 6
"""Read of each clip, and judged of these."""
HEIGHT_MAX_PX = 720
_PSNR_MAX_DB = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """A clip, as a ladder would send it, beside its truth."""

    name: str
    pairs: TrainingPairs


def read_held_out(path: Path, scale: float, crf: float) -> HeldOut:
    """The first seconds of a clip. Raises MediaError."""
    film = list(islice(decode_file(str(path)), FRAMES))
    pairs = make_rung_pairs(film, scale, crf, height_max_px=HEIGHT_MAX_PX, keep=KEEP)
    return HeldOut(name=path.name, pairs=pairs)


def score_clips(network: TunedNetwork, clips: Sequence[HeldOut]) -> tuple[ClipScore, ...]:
    """What the meters say of each clip, lifted by the reference runtime, inside the picture."""
    runner = TorchNetwork(network.weights(), threads=1)
    return tuple(_score(runner, clip) for clip in clips)


def psnr_db(network: TunedNetwork, pairs: TrainingPairs) -> float:
    """Mean luma PSNR of lifted pictures against their targets, inside the picture, at most 60 dB."""
    return float(np.mean([_psnr(truth, shown) for truth, shown in _lifted(TorchNetwork(network.weights(), 1), pairs)]))


def _score(runner: TorchNetwork, clip: HeldOut) -> ClipScore:
    lifted = list(_lifted(runner, clip.pairs))
    return ClipScore(
        clip=clip.name[:200],
        psnr_y_db=round(float(np.mean([_psnr(*pair) for pair in lifted])), 4),
        vmaf_neg=round(vmaf_neg(lifted), 4),
    )


def vmaf_neg(lifted: Sequence[tuple[Luma, Luma]]) -> float:
    """Mean VMAF-NEG of (truth, shown), each scored by itself, as if nothing moved: to be compared with itself only."""
    height_px, width_px = lifted[0][0].shape

    def fed() -> Iterator[tuple[Luma, Luma]]:
        for truth, shown in lifted:
            yield truth, shown
            yield truth, truth
            yield truth, truth

    scores = score_pairs(fed(), width_px=width_px, height_px=height_px, fps=25, every_frames=3)
    return float(scores.vmaf_neg.mean())


def _lifted(runner: TorchNetwork, pairs: TrainingPairs) -> Iterator[tuple[Luma, Luma]]:
    for low, plain, target in zip(pairs.low, pairs.plain, pairs.target, strict=True):
        yield crop(target, pairs.box), crop(runner.run(low, plain), pairs.box)


def _psnr(truth: Luma, shown: Luma) -> float:
    squared = float(np.mean(np.square(truth.astype(np.float64) - shown)))
    return min(_PSNR_MAX_DB, 10 * float(np.log10(255**2 / squared))) if squared else _PSNR_MAX_DB

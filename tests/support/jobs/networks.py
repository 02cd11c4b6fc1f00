"""Small networks and real frames for the tests of enhancers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice, pairwise

import numpy as np
import torch
from titles import CLIP

from enhancers.networks.calibrate import calibrate, calibrate_chroma
from enhancers.networks.checkpoint import Weights
from enhancers.networks.chroma import fold_planes, parse_chroma
from enhancers.networks.plain import PlainArchitecture
from enhancers.networks.plain_torch import ChromaTrunk, PlainTrunk
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, decode_file


@cache
def source_frames() -> tuple[Frame, ...]:
    """Every eighth frame of the first second of the short clip: 1280x720."""
    return tuple(islice(decode_file(str(CLIP)), 0, 32, 8))


def low_frames(width_px: int, height_px: int) -> list[Frame]:
    """The same frames, small."""
    shrink = PlainScaler(1280, 720, width_px, height_px)
    return [shrink.enhance(frame) for frame in source_frames()]


def random_trunk(architecture: PlainArchitecture, exits: tuple[int, ...], seed: int = 3) -> PlainTrunk:
    """A trunk whose residuals are large enough to be seen in eight bits."""
    trunk = PlainTrunk(architecture, exits, seed)
    with torch.no_grad():
        for tail in trunk.tails.values():
            for parameter in tail.parameters():
                parameter.mul_(5)
        for conv in trunk.convolutions().values():
            conv.bias.copy_(torch.linspace(-0.02, 0.05, len(conv.bias)))
    return trunk


def random_weights(
    architecture: PlainArchitecture, exits: tuple[int, ...] | None = None, *, seed: int = 3, ready: bool = True
) -> Weights:
    """Collapsed weights of a random trunk; calibrated when `ready`."""
    exits = exits or (architecture.depth,)
    tensors = {name: tensor.numpy() for name, tensor in random_trunk(architecture, exits, seed).collapse().items()}
    weights = Weights(architecture=architecture, exits=exits, tensors=tensors)
    return calibrate(weights, np.stack([frame.y for frame in low_frames(160, 90)])) if ready else weights


def with_chroma(weights: Weights, *, name: str = "m2c16", ready: bool = True) -> Weights:
    """`weights` with a random chroma part whose residuals can be seen and hardly ever saturate."""
    architecture = parse_chroma(name, weights.architecture)
    trunk = ChromaTrunk(architecture, seed=5)
    tensors = {name: tensor.numpy() for name, tensor in trunk.collapse().items()}
    tensors["chroma.tail.weight"] *= 5
    joined = replace(weights, tensors=weights.tensors | tensors, chroma=architecture)
    frames = low_frames(160, 90)
    folded = np.stack([fold_planes(architecture, *frame.planes()) for frame in frames])
    return calibrate_chroma(joined, folded) if ready else joined


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR of two uint8 pictures."""
    return float(10 * np.log10(255**2 / max(1e-6, np.mean((a.astype(np.float64) - b) ** 2))))


def stairs_ms(network: PlainArchitecture) -> float:
    """A machine whose kernels hold 16 channels at a time: 24 take as long as 32."""
    steps = [-(-each // 16) for each in network.channels]
    return 1.0 + 0.3 * steps[0] + sum(0.5 * a * b for a, b in pairwise(steps)) + 0.4 * steps[-1]

"""What a player learns by itself: it owns low pictures alone, and no truth that they could be lifted towards.

So it shrinks what came once more, by the scale of the network, encodes it by the settings of the title's own ladder,
and learns from the smaller to what came: detail recurs across scales (Shocher et al., "Zero-Shot Super-Resolution using
Deep Internal Learning", CVPR 2018, section 3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from abr.errors import MediaError
from abr.federation.version import LocalRecipe
from enhancers.federation.tuned_network import Floats, TunedNetwork
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.runtime.frames import Frame, frame_of
from enhancers.training.degrade import make_rung_pairs
from enhancers.training.patches import PatchSampler, TrainingPairs
from enhancers.training.trainer import TrainingSettings, fit

PATCH_PX = 32
"""Of the working grid, along a side."""
FRAMES_MAX, KEEP = 96, 24
"""Of each film: read, and learnt from."""
_AVERAGE_DECAY = 0.98
_SMALLEST = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalUpdate:
    """What a player has learnt in one round. values: to be added to the network's. weight: of them, 0–1.

    seconds: by the clock; processor_s: of the processor's time.
    """

    values: Floats
    weight: float
    seconds: float
    processor_s: float


def own_pairs(came: Sequence[Frame], scale: float, crf: float, keep: int) -> TrainingPairs:
    """Training pairs of about `keep` of the pictures of one film as they came, in display order.

    crf: of the title's own ladder. Raises MediaError when they are too small to be shrunk.
    """
    whole = [_cropped(frame, scale) for frame in came]
    return make_rung_pairs(whole, scale, crf, height_max_px=came[0].height_px, keep=keep)


def _cropped(frame: Frame, scale: float) -> Frame:
    """To a size that the scale divides evenly: what is to be learnt must not be resampled."""
    even = int(2 * scale) if scale == int(scale) else int(4 * scale)
    width, height = frame.width_px // even * even, frame.height_px // even * even
    if min(width, height) < even * _SMALLEST:
        raise MediaError(f"Pictures of {frame.width_px}x{frame.height_px} are too small to be shrunk once more.")
    if (width, height) == (frame.width_px, frame.height_px):
        return frame
    return frame_of(frame.y[:height, :width], *(part[: height // 2, : width // 2] for part in (frame.u, frame.v)))


def train_locally(
    network: TunedNetwork,
    pairs: Sequence[TrainingPairs],
    recipe: LocalRecipe,
    *,
    seed: int,
    threads: int = 1,
    report: Callable[[float, float], None] = lambda _progress, _loss: None,
) -> LocalUpdate:
    """One round's work: from the network that all start from. seed: another one draws other patches.

    Raises MediaError when no patch can be cut from the pairs.
    """
    architecture = network.architecture
    trunk = PlainTrunk(architecture, (architecture.depth,), seed)
    trunk.absorb({name: torch.from_numpy(tensor) for name, tensor in network.tensors.items()})
    sampler = PatchSampler(pairs, patch_px=PATCH_PX * architecture.squeeze, seed=seed, flips=True)
    began_s = time.process_time()
    trained = fit(trunk, sampler, settings_of(recipe, threads), report=report)
    tensors = {name: trained.tensors[name].numpy() for name in network.tensors}
    learnt = TunedNetwork(architecture=architecture, tensors=tensors)
    frames = sum(len(each.low) for each in pairs)
    return LocalUpdate(
        values=learnt.values - network.values,
        weight=min(1.0, frames / recipe.frames_full),
        seconds=trained.seconds,
        processor_s=time.process_time() - began_s,
    )


def settings_of(recipe: LocalRecipe, threads: int = 1) -> TrainingSettings:
    """The recipe as the trainer has it."""
    return TrainingSettings(
        steps=recipe.steps,
        batch=recipe.batch,
        rate=recipe.rate,
        exit_weights=(1.0,),
        average_decay=_AVERAGE_DECAY,
        detail_weight=recipe.detail_weight,
        threads=threads,
    )

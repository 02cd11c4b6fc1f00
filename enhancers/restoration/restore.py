"""Pictures restored by a conditioned network, each frame with its own code. The reference runtime, in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from abr.blur.kernel import Code
from enhancers.networks.checkpoint import Weights
from enhancers.networks.plain_torch import run_collapsed
from enhancers.restoration.conditioned import ConditionedWeights, fold
from enhancers.restoration.degradation import Lumas
from enhancers.restoration.pairs import scaled


@torch.no_grad()
def restore(
    network: ConditionedWeights,
    low: Lumas,
    codes: Sequence[Code],
    weights_of: Callable[[ConditionedWeights, Code], Weights] = fold,
) -> Lumas:
    """Luma (frames, h, w) lifted by `network`; codes: one for all frames, or one a frame."""
    plain, lifted = scaled(low, int(network.architecture.scale)), []
    folded: dict[str, torch.Tensor] = {}
    held: Code = ()
    for index, luma in enumerate(low):
        code = codes[min(index, len(codes) - 1)]
        if code != held:
            weights, held = weights_of(network, code), code
            folded = {name: torch.from_numpy(tensor) for name, tensor in weights.tensors.items()}
        residual = run_collapsed(
            network.architecture, folded, torch.from_numpy(luma.astype(np.float32))[None, None] / 255
        )
        shown = plain[index] + 255 * residual[0, 0].numpy()
        lifted.append(np.clip(np.rint(shown), 0, 255).astype(np.uint8))
    return np.stack(lifted)

"""`python -m enhancers.restoration.train_networks KIND… --scale 2 --clips DIR`: the networks that are compared.

    bicubic    believes that every source was shrunk by the bicubic filter
    agnostic   has seen every kernel, and is not told which
    blind      has seen every kernel, and is told which by its code

All three are one architecture, start from the generic weights, and see the same films, noise and compression for as
many steps. The first two are told one code whatever the kernel is, so that each does the same work.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from abr.blur.kernel import CODE_FLOATS, bicubic_kernel
from abr.core.enhancement import Tier
from abr.files import write_atomically
from enhancers.networks.catalog import TIER_DEPTHS, architecture, generic_chunks
from enhancers.networks.checkpoint import digest, loads_chunks
from enhancers.networks.plain import PlainArchitecture
from enhancers.restoration.conditioned import ConditionedWeights, dumps_network
from enhancers.restoration.conditioned_torch import ConditionedTrunk
from enhancers.restoration.degradation import Degradation, draw_degradation
from enhancers.restoration.films import clips_of, runs_of
from enhancers.restoration.pairs import CodedBatch, CodedSampler
from enhancers.restoration.train_estimator import HELD_OUT
from enhancers.training.trainer import TrainingRun, TrainingSettings, half_precision

KINDS = ("bicubic", "agnostic", "blind")
UNTOLD = (0.5,) * CODE_FLOATS
"""The code of networks that are told nothing."""
_CODE_NOISE = 0.02
"""Deviation that is added to true codes: the estimator's are not exact either."""
_BETA = 1e-3
_PATCH_PX, _BATCH = {2: 32, 4: 24}, {2: 16, 4: 8}


class ConditionedRun(TrainingRun[ConditionedTrunk, CodedBatch]):
    """The training of one network. told: whether it gets the codes."""

    def __init__(self, trunk: ConditionedTrunk, recipe: TrainingSettings, told: bool) -> None:
        super().__init__(trunk, recipe, "cpu")
        self._told = told

    def loss(self, batch: CodedBatch) -> tuple[Tensor, Tensor]:
        """See TrainingRun."""
        low, plain, target = (
            torch.from_numpy(np.ascontiguousarray(part)).unsqueeze(1).float() / 255
            for part in (batch.low, batch.plain, batch.target)
        )
        code = torch.from_numpy(batch.code) if self._told else torch.full((len(batch.code), CODE_FLOATS), UNTOLD[0])
        if self._told:
            code = (code + _CODE_NOISE * torch.randn(code.shape)).clamp(0, 1)
        with half_precision("cpu"):
            residual = self.trunk(low.contiguous(memory_format=torch.channels_last), code)
        loss = functional.smooth_l1_loss(residual.float(), target - plain, beta=_BETA)
        return loss, loss

    def collapsed(self) -> dict[str, Tensor]:
        """See TrainingRun."""
        return self.trunk.tensors()


def draw_bicubic(seed: int, scale: int) -> Degradation:
    """Noise and compression as `draw_degradation` has them, behind the bicubic filter."""
    return replace(draw_degradation(seed, scale), kernels=(bicubic_kernel(scale),))


def start_of(network: PlainArchitecture) -> ConditionedTrunk:
    """A trunk with the generic weights."""
    trunk = ConditionedTrunk(network)
    generic = loads_chunks(generic_chunks(network))
    trunk.trunk.absorb({name: torch.from_numpy(tensor) for name, tensor in generic.tensors.items()})
    return trunk


def train_kinds(options: argparse.Namespace) -> None:
    """Train one kind after the other. Those that see the same degradations share their scenes."""
    clips = list(clips_of(options.clips, HELD_OUT))
    films = [run for path in clips for run in runs_of(path, frames=5, apart=40, runs_max=14)]
    scale, network = options.scale, architecture(float(options.scale), Tier(options.tier))
    samplers: dict[str, CodedSampler] = {}
    for kind in options.kinds:
        seen = "bicubic" if kind == "bicubic" else "all"
        draw = draw_bicubic if seen == "bicubic" else draw_degradation
        if seen not in samplers:
            samplers[seen] = CodedSampler(
                films,
                partial(draw, scale=scale),
                scenes=options.scenes,
                patch_px=_PATCH_PX[scale],
                seed=options.seed,
            )
        recipe = TrainingSettings(
            steps=options.steps, batch=_BATCH[scale], rate=1e-3, exit_weights=(1.0,), detail_weight=0
        )
        torch.manual_seed(options.seed)
        run = ConditionedRun(start_of(network), recipe, told=kind == "blind")
        name = f"{kind}-x{scale}"
        trained = run.finish(samplers[seen], options.out / f"{name}.state", _Reporter(name))
        tensors = {each: tensor.numpy() for each, tensor in trained.tensors.items()}
        data = dumps_network(ConditionedWeights(architecture=network, tensors=tensors))
        card = {
            "made_by": f"python -m enhancers.restoration.train_networks {kind} --scale {scale} --clips DIR "
            f"--tier {options.tier} --scenes {options.scenes} --steps {options.steps} --seed {options.seed}",
            "device": f"{platform.machine()} CPU, 1 thread, torch {torch.__version__}",
            "seconds": round(trained.seconds),
            "clips": [path.name for path in clips],
            "sha256": digest(data),
            "bytes": len(data),
        }
        write_atomically(options.out / f"{name}.safetensors", data)
        write_atomically(options.out / f"{name}.json", (json.dumps(card, indent=1) + "\n").encode())


class _Reporter:
    """Says now and then how far a training is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._losses: list[float] = []

    def __call__(self, progress: float, loss: float) -> None:
        self._losses.append(loss)
        if len(self._losses) % 12 == 0:
            sys.stderr.write(f"{self._name} {progress:6.1%}  loss {np.mean(self._losses[-12:]):.5f}\n")
            sys.stderr.flush()


def main() -> None:
    """Train networks, and write each with its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=KINDS, metavar="KIND")
    parser.add_argument("--scale", type=int, choices=(2, 4), required=True)
    parser.add_argument("--tier", choices=[str(tier) for tier in TIER_DEPTHS], default=str(Tier.MEDIUM))
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=400, help="Degraded films to train on.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    train_kinds(options)


if __name__ == "__main__":
    main()

"""`python -m enhancers.restoration.train_networks KIND --scale 2 --clips DIR`: the networks that are compared.

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
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional

from abr.blur.kernel import CODE_FLOATS, bicubic_kernel
from abr.files import write_atomically
from enhancers.networks.catalog import architecture, generic_chunks
from enhancers.networks.checkpoint import Floats32, digest, loads_chunks
from enhancers.networks.plain import PlainArchitecture, parse
from enhancers.restoration.conditioned import ConditionedTrunk
from enhancers.restoration.degradation import Degradation, draw_degradation
from enhancers.restoration.films import clips_of, runs_of
from enhancers.restoration.pairs import CodedBatch, CodedSampler
from enhancers.restoration.train_estimator import HELD_OUT
from enhancers.training.trainer import TrainingRun, TrainingSettings

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
        with torch.autocast("cpu", torch.bfloat16):
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


def dumps_network(network: PlainArchitecture, tensors: Mapping[str, Tensor]) -> bytes:
    """A conditioned network as safetensors, float16."""
    stored = {name: tensor.numpy().astype(np.float16) for name, tensor in tensors.items()}
    return save(stored, {"architecture": str(network)})


def load_network(path: Path) -> tuple[PlainArchitecture, dict[str, Floats32]]:
    """The inverse of `dumps_network`."""
    with safe_open(path, "np") as file:
        network = parse(file.metadata()["architecture"])
        return network, {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118


def main() -> None:
    """Train one network and write it with its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--scale", type=int, choices=(2, 4), required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=600, help="Degraded films to train on.")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    clips = list(clips_of(options.clips, HELD_OUT))
    films = [run for path in clips for run in runs_of(path, frames=5, apart=31, runs_max=7)]
    scale, network = options.scale, architecture(float(options.scale))
    draw = draw_bicubic if options.kind == "bicubic" else draw_degradation
    sampler = CodedSampler(
        films, lambda seed: draw(seed, scale), scenes=options.scenes, patch_px=_PATCH_PX[scale], seed=options.seed
    )
    recipe = TrainingSettings(steps=options.steps, batch=_BATCH[scale], rate=1e-3, exit_weights=(1.0,), detail_weight=0)
    run = ConditionedRun(start_of(network), recipe, told=options.kind == "blind")
    losses: list[float] = []

    def report(progress: float, loss: float) -> None:
        losses.append(loss)
        if len(losses) % 25 == 0:
            sys.stderr.write(f"{progress:6.1%}  loss {np.mean(losses[-25:]):.5f}\n")

    name = f"{options.kind}-x{scale}"
    options.out.mkdir(parents=True, exist_ok=True)
    trained = run.finish(sampler, options.out / f"{name}.state", report)
    data = dumps_network(network, trained.tensors)
    card = {
        "made_by": f"python -m enhancers.restoration.train_networks {options.kind} --scale {scale} --clips DIR "
        f"--scenes {options.scenes} --steps {options.steps} --seed {options.seed}",
        "device": f"{platform.machine()} CPU, 1 thread, torch {torch.__version__}",
        "seconds": round(trained.seconds),
        "clips": [path.name for path in clips],
        "sha256": digest(data),
        "bytes": len(data),
    }
    write_atomically(options.out / f"{name}.safetensors", data)
    write_atomically(options.out / f"{name}.json", (json.dumps(card, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

"""`python -m enhancers.restoration.train_estimator --clips DIR`: trains the kernel estimator that ships."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from abr.blur.estimator import WEIGHTS_FILE, KernelEstimator, loads_weights, log_mean, power_of
from abr.blur.kernel import code_distance
from abr.blur.patches import Patches, edge_patches
from abr.files import write_atomically
from enhancers.networks.checkpoint import digest
from enhancers.restoration.degradation import Lumas, degrade, draw_degradation
from enhancers.restoration.estimator_net import EstimatorNet, dumps_weights
from enhancers.restoration.films import clips_of, cut, runs_of, shrunk

HELD_OUT = ("bbb_", "juggle", "nasa")
"""Clips that tests measure with, and one too small to be shrunk."""
_RUN_FRAMES, _RUNS_MAX, _APART = 5, 14, 40
_HEIGHTS_PX = (288, 360, 432, 540, 720)
_SIDE_PX = {2: 320, 4: 512}
_JUDGED_FRAMES = (1, 4)
_SET, _BATCH = (5, 24), 128
_RATE = 2e-3
_VALIDATED = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """Patches of one degraded picture, and the code of its kernel."""

    patches: Patches
    code: npt.NDArray[np.float32]


def make_examples(films: Sequence[Lumas], first_seed: int, count: int) -> Iterator[Example]:
    """Degradations with seeds from `first_seed` on, each of a film drawn by the seed; two pictures of each."""
    for seed in range(first_seed, first_seed + count):
        random = np.random.default_rng((seed, 7))
        scale = int(random.choice((2, 4)))
        film = films[int(random.integers(len(films)))]
        heights = [height for height in _HEIGHTS_PX if height <= film.shape[1]] or [film.shape[1]]
        sharp = cut(shrunk(film, int(random.choice(heights))), _SIDE_PX[scale], random)
        degradation = draw_degradation(seed, scale)
        low = degrade(sharp, degradation)
        for index in _JUDGED_FRAMES:
            patches = edge_patches(low[index], 24)
            if len(patches) >= _SET[0]:
                yield Example(patches=patches, code=np.array(degradation.codes[0], np.float32))


def train(examples: Sequence[Example], steps: int, seed: int) -> EstimatorNet:
    """Regress codes; AdamW, a warm-up and then a cosine."""
    net, random = EstimatorNet(seed), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=1e-2)
    powers = [power_of(example.patches) for example in examples]
    for step in range(steps):
        progress = step / steps
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, progress / 0.05 + 0.02) * (0.505 + 0.495 * np.cos(np.pi * progress))
        chosen = random.integers(len(examples), size=_BATCH)
        seen = torch.from_numpy(np.stack([log_mean(_some_of(powers[index], random)) for index in chosen]))
        codes = torch.from_numpy(np.stack([examples[index].code for index in chosen]))
        loss = functional.smooth_l1_loss(net(seen), codes, beta=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 500 == 0:
            sys.stderr.write(f"step {step}  loss {loss.item():.5f}\n")
            sys.stderr.flush()
    return net


def _some_of(power: npt.NDArray[np.float32], random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Sources have few patches or many."""
    return power[random.integers(len(power), size=int(random.integers(*_SET)))]


def validate(estimator: KernelEstimator, examples: Sequence[Example]) -> dict[str, float]:
    """Mean absolute error of codes, mean L1 of kernels, and the share of a code's variance that is told (R²)."""
    found = np.array([estimator.code(example.patches) for example in examples])
    truth = np.array([example.code for example in examples])
    kernels = [code_distance(one, other) for one, other in zip(found, truth, strict=True)]
    told = 1 - ((found - truth) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
    return {
        "code_mae": round(float(np.abs(found - truth).mean()), 4),
        "kernel_l1_mean": round(float(np.mean(kernels)), 4),
        "kernel_l1_median": round(float(np.median(kernels)), 4),
        "r2": round(float(told), 4),
    }


def main() -> None:
    """Make examples, train, validate on clips never seen, write weights and card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=4000, help="Degradations to train on.")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = list(clips_of(options.clips, HELD_OUT))
    films = [run for path in clips for run in runs_of(path, frames=_RUN_FRAMES, apart=_APART, runs_max=_RUNS_MAX)]
    sys.stderr.write(f"{len(films)} runs of {len(clips)} clips\n")
    examples = list(make_examples(films, options.seed * 1_000_000, options.examples))
    sys.stderr.write(f"{len(examples)} examples\n")
    net = train(examples, options.steps, options.seed)
    data = dumps_weights(net.tensors())
    unseen = [path for path in sorted(options.clips.iterdir()) if path.name.startswith(("bbb_720p25", "juggle"))]
    tests = [run for path in unseen for run in runs_of(path, frames=_RUN_FRAMES, apart=_APART, runs_max=_RUNS_MAX)]
    estimator = KernelEstimator(loads_weights(data))
    results = {
        "seen": validate(estimator, examples[:_VALIDATED]),
        "unseen": validate(estimator, list(make_examples(tests, 900_000_000, _VALIDATED * 2))),
    }
    card = {
        "made_by": f"python -m enhancers.restoration.train_estimator --clips DIR --examples {options.examples} "
        f"--steps {options.steps} --seed {options.seed}",
        "device": f"{platform.machine()} CPU, 1 thread, torch {torch.__version__}",
        "clips": [path.name for path in clips],
        "held_out": [path.name for path in unseen],
        "sha256": digest(data),
        "bytes": len(data),
        "validation": results,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out / WEIGHTS_FILE, data)
    write_atomically(options.out / "card.json", (json.dumps(card, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()

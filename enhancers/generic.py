"""`python -m enhancers.generic --clips DIR`: trains the generic weights that ship with the program.

They serve titles without training of their own and are where content-aware training starts.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from enhancers import catalog, pictures
from enhancers.architectures.plain_torch import PlainTrunk
from enhancers.calibrate import calibrated
from enhancers.checkpoint import Weights, digest, dumps_chunks, loads_chunks
from enhancers.data import Pairs, PatchSampler
from enhancers.frames import decode_file
from enhancers.rungs import rung_pairs
from enhancers.train import Recipe, Trained, fit

HELD_OUT = "bbb_"
"""Clips whose names start so are the demo's: never trained on."""
CRFS = (24.0, 28.0)
PATCH_PX = 32
_WIDTH_MAX_PX, _HEIGHT_MAX_PX = 1280, 720
_VIDEO_KINDS = frozenset({".mp4", ".webm", ".mpg", ".mkv", ".h264"})
_VIDEO_FRAMES_MAX, _VIDEO_KEEP = 600, 48
_PICTURE_FRAMES, _PICTURE_KEEP = 24, 4
_DETAIL = {1.5: (0.18, 0.05), 2.0: (0.18, 0.05), 3.0: (0.13, 0.02), 4.0: (0.13, 0.02)}
"""Weight of the detail lost at the deepest exit, and how much less each one before it has, by scale. On a film never
seen depth alone shows hardly more at ×2 and ×1.5: there, what it can do better is to be spent on detail."""


def training_films(folder: Path, held_out: tuple[str, ...]) -> list[Path]:
    """Every video and picture in `folder` but those whose names begin as one of `held_out`, by name."""
    kinds = _VIDEO_KINDS | pictures.KINDS
    return sorted(path for path in folder.iterdir() if path.suffix in kinds and not path.name.startswith(held_out))


def load_pairs(films: list[Path], scale: float) -> list[Pairs]:
    """Pairs of every film at every compression: of videos their first seconds, of pictures a pan over each."""
    return [pairs for number, film in enumerate(films) for pairs in _film_pairs(film, scale, number)]


def _film_pairs(path: Path, scale: float, number: int) -> Iterator[Pairs]:
    if path.suffix in pictures.KINDS:
        size = {"width_px": _WIDTH_MAX_PX, "height_px": _HEIGHT_MAX_PX}
        film = list(pictures.panned(str(path), **size, frames=_PICTURE_FRAMES, seed=number))
        keep = _PICTURE_KEEP
    else:
        film, keep = list(islice(decode_file(str(path)), _VIDEO_FRAMES_MAX)), _VIDEO_KEEP
    for crf in CRFS:
        yield rung_pairs(film, scale, crf, height_max_px=_HEIGHT_MAX_PX, keep=keep)


def train_scale(pairs: list[Pairs], scale: float, start: dict[str, torch.Tensor], recipe: Recipe, seed: int) -> Trained:
    """Train the trunk of one scale, from the trunk of another where shapes agree."""
    architecture = catalog.architecture(scale)
    trunk = PlainTrunk(architecture, catalog.EXITS, seed)
    trunk.absorb(start)
    sampler = PatchSampler(pairs, patch_px=PATCH_PX * architecture.squeeze, seed=seed, flips=True)
    weight, step = _DETAIL[scale]
    return fit(trunk, sampler, replace(recipe, detail_weight=weight, detail_step=step), report=_say)


def main() -> None:
    """Train all scales and write weights, ranges and the card to `--output`."""
    parser = argparse.ArgumentParser(prog="python -m enhancers.generic", description=__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips and photographs to train on")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "weights")
    parser.add_argument("--seconds", type=float, default=480.0, help="training time of each scale")
    parser.add_argument("--steps", type=int, default=0, help="steps of each scale instead: repeatable exactly")
    parser.add_argument("--hold-out", default="", help="beginnings of names of further clips not to train on")
    parser.add_argument("--start", type=Path, help="folder of weights to go on from")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    clips = training_films(given.clips, (HELD_OUT, *filter(None, given.hold_out.split(","))))
    recipe = Recipe(steps=given.steps, seconds=0 if given.steps else given.seconds, average_decay=0.999)
    given.output.mkdir(parents=True, exist_ok=True)
    start: dict[str, torch.Tensor] = {}
    card: list[dict[str, object]] = []
    for scale in sorted(catalog.SQUEEZES, reverse=True):
        pairs = load_pairs(clips, scale)
        began = time.perf_counter()
        trained = train_scale(pairs, scale, _held(given.start, scale) or start, recipe, given.seed)
        start = start or trained.tensors
        weights = Weights(
            architecture=catalog.architecture(scale),
            exits=catalog.EXITS,
            tensors={name: tensor.numpy() for name, tensor in trained.tensors.items()},
            note=f"generic, seed {given.seed}, {trained.steps} steps",
        )
        few = [pair.low[:: max(1, len(pair.low) // 2)] for pair in pairs if pair.low.shape == pairs[0].low.shape]
        chunks = dumps_chunks(calibrated(weights, np.concatenate(few)))
        for number, chunk in enumerate(chunks, start=1):
            (given.output / catalog.generic_file(scale, number)).write_bytes(chunk)
        card.append(
            {
                "architecture": str(weights.architecture),
                "sha256": [digest(chunk) for chunk in chunks],
                "steps": trained.steps,
                "seconds": round(time.perf_counter() - began),
            }
        )
    described = {
        "made_by": "python -m enhancers.generic --clips DIR " + _length(given) + f" --seed {given.seed}",
        "device": f"{platform.machine()} CPU, {recipe.threads} thread, torch {torch.__version__}",
        "clips": [clip.name for clip in clips],
        "networks": card,
    }
    if given.start:
        described["started_from"] = json.loads((given.start / "card.json").read_text())["made_by"]
    (given.output / "card.json").write_text(json.dumps(described, indent=1) + "\n")


def _length(given: argparse.Namespace) -> str:
    held_out = f"--hold-out {given.hold_out} " if given.hold_out else ""
    return held_out + (f"--steps {given.steps}" if given.steps else f"--seconds {given.seconds:g}")


def _held(folder: Path | None, scale: float) -> dict[str, torch.Tensor]:
    if folder is None:
        return {}
    chunks = [
        (folder / catalog.generic_file(scale, number)).read_bytes() for number in range(1, len(catalog.EXITS) + 1)
    ]
    return {name: torch.from_numpy(tensor) for name, tensor in loads_chunks(chunks).tensors.items()}


def _say(progress: float, loss: float) -> None:
    print(f"\r{progress:6.1%}  loss {loss:.5f}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

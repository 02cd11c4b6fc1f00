"""`python -m enhancers.training.generic --clips DIR`: trains the generic weights that ship with the program.

They serve titles without training of their own and are where content-aware training starts.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from enhancers.networks import catalog
from enhancers.networks.calibrate import calibrate
from enhancers.networks.checkpoint import Weights, digest, dumps_chunks, loads_chunks
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.runtime.frames import decode_file
from enhancers.training import photo_pans
from enhancers.training.degrade import make_rung_pairs
from enhancers.training.patches import PatchSampler, TrainingPairs
from enhancers.training.trainer import TrainedTrunk, TrainingSettings, fit

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
_DECAY = 0.999


def training_films(folder: Path, held_out: tuple[str, ...]) -> list[Path]:
    """Every video and picture in `folder` but those whose names begin as one of `held_out`, by name."""
    kinds = _VIDEO_KINDS | photo_pans.KINDS
    return sorted(path for path in folder.iterdir() if path.suffix in kinds and not path.name.startswith(held_out))


def load_pairs(films: list[Path], scale: float) -> list[TrainingPairs]:
    """Pairs of every film at every compression: of videos their first seconds, of pictures a pan over each."""
    return [pairs for number, film in enumerate(films) for pairs in _film_pairs(film, scale, number)]


def _film_pairs(path: Path, scale: float, number: int) -> Iterator[TrainingPairs]:
    if path.suffix in photo_pans.KINDS:
        size = {"width_px": _WIDTH_MAX_PX, "height_px": _HEIGHT_MAX_PX}
        film = list(photo_pans.pan_over(str(path), **size, frames=_PICTURE_FRAMES, seed=number))
        keep = _PICTURE_KEEP
    else:
        film, keep = list(islice(decode_file(str(path)), _VIDEO_FRAMES_MAX)), _VIDEO_KEEP
    for crf in CRFS:
        yield make_rung_pairs(film, scale, crf, height_max_px=_HEIGHT_MAX_PX, keep=keep)


def train_scale(
    pairs: list[TrainingPairs], scale: float, start: dict[str, torch.Tensor], recipe: TrainingSettings, seed: int
) -> TrainedTrunk:
    """Train the trunk of one scale, from `start` where shapes agree; detail counts recipe.detail_weight × as usual."""
    architecture = catalog.architecture(scale)
    trunk = PlainTrunk(architecture, catalog.EXITS, seed)
    trunk.absorb(start)
    sampler = PatchSampler(pairs, patch_px=PATCH_PX * architecture.squeeze, seed=seed, flips=True)
    weight, step = (recipe.detail_weight * usual for usual in _DETAIL[scale])
    return fit(trunk, sampler, replace(recipe, detail_weight=weight, detail_step=step), report=print_progress)


def blend(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Weights between those before a training and those after it: `share` of the latter."""
    return {name: torch.lerp(before[name], tensor, share) for name, tensor in after.items()}


def main() -> None:
    """Train scales and write weights, ranges and the card to `--output`."""
    options = _parse()
    clips = training_films(options.clips, (HELD_OUT, *filter(None, options.hold_out.split(","))))
    options.output.mkdir(parents=True, exist_ok=True)
    start: dict[str, torch.Tensor] = {}
    for scale in sorted((float(text) for text in options.scales.split(",")), reverse=True):
        pairs = load_pairs(clips, scale)
        begun = _load_start(options.start, scale) or start
        trained = train_scale(pairs, scale, begun, _recipe(options), options.seed)
        if options.blend < 1:
            trained = replace(trained, tensors=blend(begun, trained.tensors, options.blend))
        start = start or trained.tensors
        chunks = _write(trained, scale, pairs, options)
        _note(options.output / "card.json", _entry(trained, scale, chunks, options), [clip.name for clip in clips])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m enhancers.training.generic", description=__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips and photographs to train on")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "weights")
    parser.add_argument("--scales", default="4,3,2,1.5")
    parser.add_argument("--seconds", type=float, default=480.0, help="training time of each scale")
    parser.add_argument("--steps", type=int, default=0, help="steps of each scale instead: repeatable exactly")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate, at its highest")
    parser.add_argument("--detail", type=float, default=1.0, help="how much the detail lost counts; 1: as usual")
    parser.add_argument("--structure", type=float, default=0.0, help="weight of the structure lost")
    parser.add_argument("--hold-out", default="", help="beginnings of names of further clips not to train on")
    parser.add_argument("--start", type=Path, help="folder of weights to go on from")
    parser.add_argument("--blend", type=float, default=1.0, help="share of what is trained; the rest is of --start")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.blend < 1 and not options.start:
        parser.error("--blend needs --start: there is nothing else to blend with")
    return options


def _recipe(options: argparse.Namespace) -> TrainingSettings:
    return TrainingSettings(
        steps=options.steps,
        seconds=0 if options.steps else options.seconds,
        rate=options.rate,
        average_decay=_DECAY,
        detail_weight=options.detail,
        structure_weight=options.structure,
    )


def _write(trained: TrainedTrunk, scale: float, pairs: list[TrainingPairs], options: argparse.Namespace) -> list[bytes]:
    weights = Weights(
        architecture=catalog.architecture(scale),
        exits=catalog.EXITS,
        tensors={name: tensor.numpy() for name, tensor in trained.tensors.items()},
        note=f"generic, seed {options.seed}, {trained.steps} steps",
    )
    few = [pair.low[:: max(1, len(pair.low) // 2)] for pair in pairs if pair.low.shape == pairs[0].low.shape]
    chunks = dumps_chunks(calibrate(weights, np.concatenate(few)))
    for number, chunk in enumerate(chunks, start=1):
        (options.output / catalog.generic_file(scale, number)).write_bytes(chunk)
    return chunks


def _entry(trained: TrainedTrunk, scale: float, chunks: list[bytes], options: argparse.Namespace) -> dict[str, object]:
    """What the card says of one scale."""
    started = {"started_from": _maker(options.start / "card.json", scale)} if options.start else {}
    return {
        "architecture": str(catalog.architecture(scale)),
        "sha256": [digest(chunk) for chunk in chunks],
        "steps": trained.steps,
        "seconds": round(trained.seconds),
        "made_by": _command(options),
        "device": f"{platform.machine()} CPU, 1 thread, torch {torch.__version__}",
    } | started


def _command(options: argparse.Namespace) -> str:
    told = [("--hold-out", options.hold_out), ("--steps", options.steps)]
    told += [] if options.steps else [("--seconds", f"{options.seconds:g}")]
    told += [("--detail", f"{options.detail:g}"), ("--structure", f"{options.structure:g}")]
    told += [("--blend", f"{options.blend:g}")] if options.blend < 1 else []
    told += [("--rate", f"{options.rate:g}"), ("--seed", options.seed)]
    return "python -m enhancers.training.generic --clips DIR " + " ".join(
        f"{name} {value}" for name, value in told if value
    )


def _maker(card: Path, scale: float) -> str:
    """The command that made the weights of one scale, as their card tells it."""
    told = json.loads(card.read_text())
    architecture = str(catalog.architecture(scale))
    own: dict[str, object] = next((each for each in told["networks"] if each["architecture"] == architecture), {})
    return str(own.get("made_by", told.get("made_by")))


def _note(path: Path, entry: dict[str, object], clips: list[str]) -> None:
    """Put one scale's entry into the card, which keeps what it says of other scales and of films seen before."""
    card = json.loads(path.read_text()) if path.exists() else {"clips": [], "networks": []}
    card["clips"] = sorted({*card["clips"], *clips})
    card["networks"] = [each for each in card["networks"] if each["architecture"] != entry["architecture"]] + [entry]
    path.write_text(json.dumps(card, indent=1) + "\n")


def _load_start(folder: Path | None, scale: float) -> dict[str, torch.Tensor]:
    if folder is None:
        return {}
    chunks = [
        (folder / catalog.generic_file(scale, number)).read_bytes() for number in range(1, len(catalog.EXITS) + 1)
    ]
    return {name: torch.from_numpy(tensor) for name, tensor in loads_chunks(chunks).tensors.items()}


def print_progress(progress: float, loss: float) -> None:
    """Show how far training is."""
    sys.stderr.write(f"\r{progress:6.1%}  loss {loss:.5f}")
    sys.stderr.flush()


if __name__ == "__main__":
    main()

"""`python -m enhancers.training.generic_chroma --clips DIR`: trains the chroma parts of the generic weights.

The luma networks stay as they are, to the bit: only the first chunk of each scale is written anew.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

from enhancers.networks import catalog
from enhancers.networks.checkpoint import digest, dumps_chunks, loads_chunks
from enhancers.training.chroma_training import train_chroma
from enhancers.training.generic import HELD_OUT, load_pairs, print_progress, training_films
from enhancers.training.title_weights import add_chroma
from enhancers.training.trainer import TrainingSettings

_DECAY = 0.999


def main() -> None:
    """Train the chroma part of each scale and write it, and its entry in the card, into `--output`."""
    parser = argparse.ArgumentParser(prog="python -m enhancers.training.generic_chroma", description=__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips and photographs to train on")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "weights", help="weights to add to")
    parser.add_argument("--scales", default="4,3,2,1.5")
    parser.add_argument("--seconds", type=float, default=240.0, help="training time of each scale")
    parser.add_argument("--steps", type=int, default=0, help="steps of each scale instead: repeatable exactly")
    parser.add_argument("--hold-out", default="", help="beginnings of names of further clips not to train on")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    films = training_films(options.clips, (HELD_OUT, *filter(None, options.hold_out.split(","))))
    recipe = TrainingSettings(
        steps=options.steps, seconds=0 if options.steps else options.seconds, average_decay=_DECAY
    )
    for scale in (float(text) for text in options.scales.split(",")):
        entry = _train_scale(films, scale, recipe, options.seed, options.output)
        _note(options.output / "card.json", entry | {"clips": [film.name for film in films], "seed": options.seed})


def _train_scale(
    films: list[Path], scale: float, recipe: TrainingSettings, seed: int, folder: Path
) -> dict[str, object]:
    files = [folder / catalog.generic_file(scale, number) for number in range(1, len(catalog.EXITS) + 1)]
    weights = loads_chunks([file.read_bytes() for file in files])
    pairs = load_pairs(films, scale)
    architecture = catalog.chroma_architecture(scale)
    trained = train_chroma(pairs, architecture, recipe, seed=seed, start=weights, flips=True, report=print_progress)
    chunks = dumps_chunks(add_chroma(weights, trained, pairs))
    for file, chunk in zip(files, chunks, strict=True):
        file.write_bytes(chunk)
    return {
        "architecture": str(weights.architecture),
        "chroma": str(architecture),
        "sha256": [digest(chunk) for chunk in chunks],
        "steps": trained.steps,
        "seconds": round(trained.seconds),
        "device": f"{platform.machine()} CPU, {recipe.threads} thread, torch {torch.__version__}",
    }


def _note(path: Path, entry: dict[str, object]) -> None:
    """Put one scale's entry into the card, and its chunks' digests where the luma networks are told."""
    card = json.loads(path.read_text())
    others = [each for each in card.get("chroma", []) if each["architecture"] != entry["architecture"]]
    card["chroma"] = [*others, entry]
    for network in card["networks"]:
        if network["architecture"] == entry["architecture"]:
            network["sha256"] = entry["sha256"]
    path.write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()

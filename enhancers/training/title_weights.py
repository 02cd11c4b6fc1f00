"""Content-aware networks of one title: which rungs get one, how they are trained, and the folder that holds them.

A folder of weights holds `<rendition>-<k>.safetensors` and `weights.json`, which names every chunk with its sha256 and
the source that they were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from abr.core.enhancement import Tier
from abr.core.title import Identifier, Positive, Title
from abr.errors import FormatError, InputError, StorageError
from abr.files import write_atomically, write_file
from abr.quality.vmaf import Luma, crop, score_pairs
from abr.records import Record, dumps_pretty, load
from enhancers.networks import catalog
from enhancers.networks.calibrate import calibrate, calibrate_chroma
from enhancers.networks.catalog import exits_of
from enhancers.networks.checkpoint import Weights, digest, dumps_chunks, loads_chunks, verify
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.training.chroma_training import fold_some, train_chroma
from enhancers.training.patches import PatchSampler, TrainingPairs
from enhancers.training.trainer import TrainedTrunk, TrainingSettings, fit

WEIGHTS_FILE = "weights.json"
STORAGE = "I8"
PATCH_PX = 32
_CALIBRATION_FRAMES = 6
CHROMA_SHARE = 0.2
"""Of a rendition's training time that its chroma part gets."""
CONTENT_DETAIL_WEIGHT, CONTENT_STRUCTURE_WEIGHT = 0.03, 0.03
"""What content-aware training asks for beside the L1 loss: more detail wins VMAF, and loses by most other meters (see
BENCHMARKS)."""
_DEEPER = 0.25
"""Up to ×2 each deeper exit weighs detail by so much of the recipe's weight more: asked for as much as the one before
it, it may show less (see BENCHMARKS)."""


class TrainedChunk(Record, frozen=True):
    """One file of a weights folder."""

    file: str
    sha256: str


class TrainedNetwork(Record, frozen=True):
    """All chunks of one rendition's network, cheapest exit first."""

    rendition: Identifier
    width_px: Positive
    height_px: Positive
    architecture: str
    chunks: tuple[TrainedChunk, ...]
    steps: int
    seconds: float
    chroma: str = ""
    """The part that lifts chroma, such as m3c24; empty for weights that lift luma alone."""


class WeightsCard(Record, frozen=True):
    """What a weights folder holds and how it was made."""

    title: Identifier
    source_name: str
    source_sha256: str
    made_by: str
    """Command, seed, device and software."""
    networks: tuple[TrainedNetwork, ...]
    schema: int = 1


def train_rendition(
    pairs: TrainingPairs,
    tiers: Sequence[Tier],
    recipe: TrainingSettings,
    *,
    seed: int,
    state: Path | None = None,
    report: Callable[[float, float], None] = lambda _progress, _loss: None,
) -> TrainedTrunk:
    """Train one rendition's trunk from the generic weights.

    recipe: its exit weights are set here, and up to ×2 its weight of detail is that of the lightest exit.
    """
    exits = exits_of(tiers)
    full = catalog.architecture(pairs.scale)
    generic = loads_chunks(catalog.generic_chunks(full))
    trunk = PlainTrunk(full.at_exit(exits[-1]), exits, seed)
    trunk.absorb({name: torch.from_numpy(tensor) for name, tensor in generic.tensors.items()})
    sampler = PatchSampler([pairs], patch_px=PATCH_PX * full.squeeze, seed=seed, flips=False)
    shares = (*(0.3 for _ in exits[:-1]), 1.0)
    step = _DEEPER * recipe.detail_weight if full.squeeze > 1 else 0.0
    most = recipe.detail_weight + step * (len(exits) - 1)
    own = replace(recipe, exit_weights=shares, detail_weight=most, detail_step=step)
    return fit(trunk, sampler, own, state=state, report=report)


def train_rendition_chroma(
    pairs: TrainingPairs,
    recipe: TrainingSettings,
    *,
    seed: int,
    state: Path | None = None,
    report: Callable[[float, float], None] = lambda _progress, _loss: None,
) -> TrainedTrunk:
    """Train one rendition's chroma part, from the generic one where there is one."""
    full = catalog.architecture(pairs.scale)
    return train_chroma(
        [pairs],
        catalog.chroma_architecture(pairs.scale),
        recipe,
        seed=seed,
        start=loads_chunks(catalog.generic_chunks(full)),
        state=state,
        report=report,
    )


def split_recipe(recipe: TrainingSettings) -> tuple[TrainingSettings, TrainingSettings]:
    """How long luma trains and how long chroma: a share of the seconds, or as many steps, which are lighter."""
    if recipe.steps:
        return recipe, recipe
    chroma_s = CHROMA_SHARE * recipe.seconds
    return replace(recipe, seconds=recipe.seconds - chroma_s), replace(recipe, seconds=chroma_s)


def collapse_and_calibrate(
    trained: TrainedTrunk,
    tiers: Sequence[Tier],
    pairs: TrainingPairs,
    source_sha256: str,
    note: str = "",
    chroma: TrainedTrunk | None = None,
) -> Weights:
    """Collapsed weights with ranges calibrated on the rendition's own frames."""
    exits = exits_of(tiers)
    weights = Weights(
        architecture=catalog.architecture(pairs.scale).at_exit(exits[-1]),
        exits=exits,
        tensors={name: tensor.numpy() for name, tensor in trained.tensors.items()},
        source_sha256=source_sha256,
        note=note,
    )
    ready = calibrate(weights, pairs.low[:: max(1, len(pairs.low) // _CALIBRATION_FRAMES)])
    return add_chroma(ready, chroma, [pairs]) if chroma else ready


def add_chroma(weights: Weights, trained: TrainedTrunk, pairs: Sequence[TrainingPairs]) -> Weights:
    """`weights` with a chroma part, calibrated on frames of the pairs that are of the first one's size."""
    architecture = catalog.chroma_architecture(weights.architecture.scale)
    tensors = {name: tensor.numpy() for name, tensor in trained.tensors.items()}
    joined = replace(weights, tensors=weights.tensors | tensors, chroma=architecture)
    alike = [each for each in pairs if each.low.shape[1:] == pairs[0].low.shape[1:]]
    few = max(1, 2 * _CALIBRATION_FRAMES // len(alike))
    return calibrate_chroma(joined, np.concatenate([fold_some(architecture, each, few) for each in alike]))


def write_network(
    folder: Path, rendition: str, size_px: tuple[int, int], weights: Weights, trained: TrainedTrunk
) -> TrainedNetwork:
    """Write one network's chunks into a weights folder."""
    names = []
    for number, chunk in enumerate(dumps_chunks(weights, storage=STORAGE), start=1):
        name = f"{rendition}-{number}.safetensors"
        write_file(folder / name, chunk)
        names.append(TrainedChunk(file=name, sha256=digest(chunk)))
    return TrainedNetwork(
        rendition=rendition,
        width_px=size_px[0],
        height_px=size_px[1],
        architecture=str(weights.architecture),
        chunks=tuple(names),
        steps=trained.steps,
        seconds=round(trained.seconds, 1),
        chroma=str(weights.chroma or ""),
    )


def write_card(folder: Path, card: WeightsCard) -> None:
    """The last file of a weights folder: without it the folder is not complete."""
    write_atomically(folder / WEIGHTS_FILE, dumps_pretty(card))


def read_weights(folder: Path, title: Title) -> tuple[WeightsCard, dict[str, list[bytes]]]:
    """The card of a weights folder and every network's checked chunks, by rendition id.

    Raises FormatError when a file is damaged or hostile, InputError when it was trained on another source or size.
    """
    card = load(folder / WEIGHTS_FILE, WeightsCard)
    if card.source_sha256 != title.source.sha256:
        raise InputError(
            f"The weights in {folder} were trained on {card.source_name} ({card.source_sha256[:12]}…), "
            f"{title.id} was prepared from {title.source.name} ({title.source.sha256[:12]}…)."
        )
    sizes = {rendition.id: (rendition.width_px, rendition.height_px) for rendition in title.renditions}
    networks: dict[str, list[bytes]] = {}
    for network in card.networks:
        if sizes.get(network.rendition) != (network.width_px, network.height_px):
            raise InputError(
                f"The weights in {folder} lift {network.rendition} at {network.width_px}x{network.height_px}; "
                f"{title.id} has no such rendition."
            )
        networks[network.rendition] = [_read_chunk(folder, chunk) for chunk in network.chunks]
        weights = loads_chunks(networks[network.rendition], what=f"the weights of {network.rendition}")
        named = str(weights.architecture), str(weights.chroma or "")
        if named != (network.architecture, network.chroma) or weights.source_sha256 != title.source.sha256:
            raise FormatError(f"The weights of {network.rendition} in {folder} are not what {WEIGHTS_FILE} says.")
    return card, networks


def _read_chunk(folder: Path, chunk: TrainedChunk) -> bytes:
    if Path(chunk.file).name != chunk.file:
        raise FormatError(f"{WEIGHTS_FILE} in {folder} names {chunk.file!r}, which is not a file beside it.")
    try:
        data = (folder / chunk.file).read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {folder / chunk.file}: {error.strerror}.") from error
    return verify(data, chunk.sha256, f"{folder / chunk.file}")


def measure_vmaf(pairs: TrainingPairs, weights: Mapping[str, torch.Tensor] | None, depth: int) -> float:
    """Mean VMAF of the pairs inside the picture, by the reference runtime; plainly scaled when there are no weights.

    Each frame is scored by itself, as if nothing moved: to be compared with others of the same pairs only.
    """
    from enhancers.runtime.backends.torch_eager import TorchNetwork

    network = None
    if weights is not None:
        architecture = catalog.architecture(pairs.scale).at_exit(depth)
        tensors = {name: tensor.numpy() for name, tensor in weights.items()}
        network = TorchNetwork(Weights(architecture=architecture, exits=(depth,), tensors=tensors), threads=1)

    def meter_pairs() -> Iterator[tuple[Luma, Luma]]:
        for low, plain, target in zip(pairs.low, pairs.plain, pairs.target, strict=True):
            truth = crop(target, pairs.box)
            yield truth, crop(plain if network is None else network.run(low, plain), pairs.box)
            yield truth, truth
            yield truth, truth

    _, _, width_px, height_px = pairs.box
    return float(score_pairs(meter_pairs(), width_px=width_px, height_px=height_px, fps=25, every_frames=3).vmaf.mean())

"""Content-aware networks of one title: which rungs get one, how they are trained, and the folder that holds them.

A folder of weights holds `<rendition>-<k>.safetensors` and `weights.json`, which names every chunk with its sha256 and
the source that they were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from abr.enhancement import Tier
from abr.errors import FormatError, InputError, StorageError
from abr.formats import Record, dumps_pretty, load, save_whole
from abr.media import Identifier, Positive, Title
from abr.quality import Luma, crop, score_pairs
from enhancers import catalog
from enhancers.architectures.plain_torch import PlainTrunk
from enhancers.calibrate import calibrated
from enhancers.checkpoint import Weights, digest, dumps_chunks, loads_chunks, verified
from enhancers.data import Pairs, PatchSampler
from enhancers.train import Recipe, Trained, fit

WEIGHTS_FILE = "weights.json"
STORAGE = "I8"
PATCH_PX = 32
_CALIBRATION_FRAMES = 6
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


class WeightsCard(Record, frozen=True):
    """What a weights folder holds and how it was made."""

    title: Identifier
    source_name: str
    source_sha256: str
    made_by: str
    """Command, seed, device and software."""
    networks: tuple[TrainedNetwork, ...]
    schema: int = 1


def liftable(title: Title) -> dict[str, float]:
    """Rendition id → network scale, of every rendition that a network could pay for."""
    found = {
        rendition.id: catalog.scale_for(rendition.height_px, title.display_height_px) for rendition in title.renditions
    }
    return {id_: scale for id_, scale in found.items() if scale is not None}


def exits_of(tiers: Sequence[Tier]) -> tuple[int, ...]:
    """Depths of the tiers, ascending."""
    return tuple(sorted(catalog.TIER_DEPTHS[tier] for tier in set(tiers)))


def train_rendition(
    pairs: Pairs,
    tiers: Sequence[Tier],
    recipe: Recipe,
    *,
    seed: int,
    state: Path | None = None,
    report: Callable[[float, float], None] = lambda _progress, _loss: None,
) -> Trained:
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


def weights_of(trained: Trained, tiers: Sequence[Tier], pairs: Pairs, source_sha256: str, note: str = "") -> Weights:
    """Collapsed weights with ranges calibrated on the rendition's own frames."""
    exits = exits_of(tiers)
    weights = Weights(
        architecture=catalog.architecture(pairs.scale).at_exit(exits[-1]),
        exits=exits,
        tensors={name: tensor.numpy() for name, tensor in trained.tensors.items()},
        source_sha256=source_sha256,
        note=note,
    )
    return calibrated(weights, pairs.low[:: max(1, len(pairs.low) // _CALIBRATION_FRAMES)])


def write_network(
    folder: Path, rendition: str, size_px: tuple[int, int], weights: Weights, made: Trained
) -> TrainedNetwork:
    """Write one network's chunks into a weights folder."""
    names = []
    for number, chunk in enumerate(dumps_chunks(weights, storage=STORAGE), start=1):
        name = f"{rendition}-{number}.safetensors"
        (folder / name).write_bytes(chunk)
        names.append(TrainedChunk(file=name, sha256=digest(chunk)))
    return TrainedNetwork(
        rendition=rendition,
        width_px=size_px[0],
        height_px=size_px[1],
        architecture=str(weights.architecture),
        chunks=tuple(names),
        steps=made.steps,
        seconds=round(made.seconds, 1),
    )


def write_card(folder: Path, card: WeightsCard) -> None:
    """The last file of a weights folder: without it the folder is not complete."""
    save_whole(folder / WEIGHTS_FILE, dumps_pretty(card))


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
        if str(weights.architecture) != network.architecture or weights.source_sha256 != title.source.sha256:
            raise FormatError(f"The weights of {network.rendition} in {folder} are not what {WEIGHTS_FILE} says.")
    return card, networks


def _read_chunk(folder: Path, chunk: TrainedChunk) -> bytes:
    if Path(chunk.file).name != chunk.file:
        raise FormatError(f"{WEIGHTS_FILE} in {folder} names {chunk.file!r}, which is not a file beside it.")
    try:
        data = (folder / chunk.file).read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {folder / chunk.file}: {error.strerror}.") from error
    return verified(data, chunk.sha256, f"{folder / chunk.file}")


def vmaf(pairs: Pairs, weights: Mapping[str, torch.Tensor] | None, depth: int) -> float:
    """Mean VMAF of the pairs inside the picture, by the reference runtime; plainly scaled when there are no weights.

    Each frame is scored by itself, as if nothing moved: to be compared with others of the same pairs only.
    """
    from enhancers.backends.eager import TorchNetwork

    network = None
    if weights is not None:
        architecture = catalog.architecture(pairs.scale).at_exit(depth)
        tensors = {name: tensor.numpy() for name, tensor in weights.items()}
        network = TorchNetwork(Weights(architecture=architecture, exits=(depth,), tensors=tensors), threads=1)

    def fed() -> Iterator[tuple[Luma, Luma]]:
        for low, plain, target in zip(pairs.low, pairs.plain, pairs.target, strict=True):
            truth = crop(target, pairs.box)
            yield truth, crop(plain if network is None else network.run(low, plain), pairs.box)
            yield truth, truth
            yield truth, truth

    _, _, width_px, height_px = pairs.box
    return float(score_pairs(fed(), width_px=width_px, height_px=height_px, fps=25, every_frames=3).vmaf.mean())

"""Training of one title's networks. Killed at any moment, the same command continues.

Work in progress lies in `<library>/.training-<title>/`, under names that carry what it was made from:

    <rendition>-<key>.state.safetensors    training in progress, then complete; of chroma: <rendition>-chroma-<key>…
    weights-<key>/                         a folder of weights (enhancers.training.title_weights), complete with its
    card scores-<key>-<block>.json              scores of one block of segments (see enhancers.measurement.offers)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from abr.core.enhancement import Tier
from abr.progress import ShareListener
from enhancers.networks import catalog
from enhancers.networks.catalog import network_scales
from enhancers.prepared_title import PreparedTitle
from enhancers.training.title_pairs import read_title_pairs
from enhancers.training.title_weights import (
    WEIGHTS_FILE,
    WeightsCard,
    collapse_and_calibrate,
    split_recipe,
    train_rendition,
    train_rendition_chroma,
    write_card,
    write_network,
)
from enhancers.training.trainer import TrainingSettings
from enhancers.work_folder import key_of, title_key


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What to train and how. `recipe` is for all renditions together: each has an equal share of its time."""

    renditions: tuple[str, ...]
    tiers: tuple[Tier, ...]
    recipe: TrainingSettings
    seed: int
    made_by: str
    frames_max: int = 160


def train_title(prepared: PreparedTitle, plan: TrainingPlan, work: Path, progress: ShareListener) -> Path:
    """Train a network for each rendition of the plan. Returns a complete weights folder inside `work`."""
    chroma_part = catalog.CHROMA_DEPTH, catalog.CHROMA_WIDTH
    key = key_of(title_key(prepared), plan.renditions, plan.tiers, plan.recipe, plan.seed, plan.frames_max, chroma_part)
    folder = work / f"weights-{key}"
    if (folder / WEIGHTS_FILE).is_file():
        return folder
    folder.mkdir(exist_ok=True)
    scales = {id_: scale for id_, scale in network_scales(prepared.title).items() if id_ in plan.renditions}
    progress("Decoding the rungs and the source", 0.0)
    pairs = read_title_pairs(prepared, scales, frames_max=plan.frames_max)
    luma_share, chroma_share = split_recipe(share_of(plan.recipe, len(scales)))
    source_sha256 = prepared.title.source.sha256
    networks = []
    for id_ in scales:
        trained = train_rendition(
            pairs[id_],
            plan.tiers,
            luma_share,
            seed=plan.seed,
            state=work / f"{id_}-{key}.state.safetensors",
            report=lambda done, loss, id_=id_: progress(f"Training {id_} (loss {loss:.5f})", done),  # type: ignore[misc]
        )
        chroma = train_rendition_chroma(
            pairs[id_],
            chroma_share,
            seed=plan.seed,
            state=work / f"{id_}-chroma-{key}.state.safetensors",
            report=lambda done, loss, id_=id_: progress(f"Training {id_} in colour (loss {loss:.5f})", done),  # type: ignore[misc]
        )
        note = f"{id_}, seed {plan.seed}"
        weights = collapse_and_calibrate(trained, plan.tiers, pairs[id_], source_sha256, note, chroma)
        rendition = prepared.title.rendition(id_)
        networks.append(write_network(folder, id_, (rendition.width_px, rendition.height_px), weights, trained))
    card = WeightsCard(
        title=prepared.title.id,
        source_name=prepared.title.source.name,
        source_sha256=source_sha256,
        made_by=plan.made_by,
        networks=tuple(networks),
    )
    write_card(folder, card)
    return folder


def share_of(recipe: TrainingSettings, count: int) -> TrainingSettings:
    """The recipe of one of `count` renditions."""
    return replace(recipe, steps=max(1, recipe.steps // count) if recipe.steps else 0, seconds=recipe.seconds / count)

"""The training of one title's networks; killed at any moment, the same command goes on from there.

Work in progress lies in `<library>/.training-<title>/`, under names that carry what it was made from:

    <rendition>-<key>.state.safetensors    training in progress, then complete
    weights-<key>/                         a weights folder (see enhancers.content), complete once it has its card
    scores-<key>-<block>.json              scores of one block of segments (see enhancers.offers)
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from abr.enhancement import Tier
from abr.errors import InputError, StorageError
from enhancers.content import (
    WEIGHTS_FILE,
    WeightsCard,
    liftable,
    train_rendition,
    weights_of,
    write_card,
    write_network,
)
from enhancers.titles import PreparedTitle, title_pairs
from enhancers.train import Recipe

Progress = Callable[[str, float], None]
"""Told what is being done and how far it is, 0–1."""

_KEY_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to train and how. `recipe` is for all renditions together: each has an equal share of its time."""

    renditions: tuple[str, ...]
    tiers: tuple[Tier, ...]
    recipe: Recipe
    seed: int
    made_by: str
    frames_max: int = 160


@contextmanager
def working_on(prepared: PreparedTitle) -> Iterator[Path]:
    """The folder of a title's work in progress, ours alone; removed when the block ends well, kept otherwise.

    Raises InputError while another process works on the title, and StorageError when the disk refuses.
    """
    folder = prepared.folder.parent / f".training-{prepared.folder.name}"
    try:
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
            shutil.rmtree(folder)
    except BlockingIOError as error:
        raise InputError(f"Another toprung train works on {prepared.title.id}: wait for it to end.") from error
    except OSError as error:
        raise StorageError(f"Cannot keep work in {folder}: {error.strerror}.") from error


def key_of(*parts: object) -> str:
    """A short name for what some work was made from."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:_KEY_DIGITS]


def title_key(prepared: PreparedTitle) -> str:
    """A name for this encoding of this source."""
    title = prepared.title
    return key_of(title.source.sha256, [(r.id, r.width_px, r.segment_bytes) for r in title.renditions])


def train_title(prepared: PreparedTitle, plan: Plan, work: Path, progress: Progress) -> Path:
    """Train a network for each rendition of the plan. Returns a complete weights folder inside `work`."""
    key = key_of(title_key(prepared), plan.renditions, plan.tiers, plan.recipe, plan.seed, plan.frames_max)
    folder = work / f"weights-{key}"
    if (folder / WEIGHTS_FILE).is_file():
        return folder
    folder.mkdir(exist_ok=True)
    scales = {id_: scale for id_, scale in liftable(prepared.title).items() if id_ in plan.renditions}
    progress("Decoding the rungs and the source", 0.0)
    pairs = title_pairs(prepared, scales, frames_max=plan.frames_max)
    share = share_of(plan.recipe, len(scales))
    source_sha256 = prepared.title.source.sha256
    networks = []
    for id_ in scales:
        trained = train_rendition(
            pairs[id_],
            plan.tiers,
            share,
            seed=plan.seed,
            state=work / f"{id_}-{key}.state.safetensors",
            report=lambda done, loss, id_=id_: progress(f"Training {id_} (loss {loss:.5f})", done),  # type: ignore[misc]
        )
        weights = weights_of(trained, plan.tiers, pairs[id_], source_sha256, f"{id_}, seed {plan.seed}")
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


def share_of(recipe: Recipe, count: int) -> Recipe:
    """The recipe of one of `count` renditions."""
    return replace(recipe, steps=max(1, recipe.steps // count) if recipe.steps else 0, seconds=recipe.seconds / count)

"""A federation in one process: players with a title each, real updates under real masks, a server that judges.

    python tests/bench/federation.py prepare FOLDER --clips ../shared/data/clips
    python tests/bench/federation.py run FOLDER --batch 16 --dropout 0.3 --out federation-16-30.json
    python tests/bench/federation.py central FOLDER --batch 16

`prepare` encodes each title's rung and makes the pairs, once. `run` holds rounds: each player trains from the newest
version on what came to it, re-degraded; updates go through SecAgg+ as JSON, in memory; a share of the players vanishes,
at each step of the protocol in turn; the server keeps a version only if it is better on its own clips. `central` trains
one network on all pairs in one place from the same start: as many steps, each over as many patches as all players
together take (`--long`: of as many patches as one takes, and so many times the steps). It has no judge.

Looked at, on frames that nobody trained on: `truth`, the title's own source, which no player has; and `own`, what came
beside itself made small, which is all that a player could measure.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import click
import numpy as np

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from secagg_rounds import STAGES, run_round

from abr.core.enhancement import Tier
from abr.federation.judging import is_better
from abr.federation.update import UpdateCodec
from abr.federation.version import ClipScore, LocalRecipe
from abr.quality.vmaf import picture_box
from enhancers.federation.held_out import HeldOut, psnr_db, read_held_out, score_clips
from enhancers.federation.local_training import own_pairs, train_locally
from enhancers.federation.tuned_network import TunedNetwork, count_values, generic_network
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import decode_file, decode_segment
from enhancers.training.patches import PairCollector, TrainingPairs

SCALE, TIER = 2.0, Tier.LOW
PLAYERS = {
    "bbb_720p24_part1.mp4": 600,
    "blocks_720p30.mp4": 0,
    "butterfly_720p30.mp4": 0,
    "city_405p25.mpg": 0,
    "dog_720p30.mp4": 0,
    "flower_540p30.mp4": 0,
    "juggle_720p24.mp4": 0,
    "sintel_trailer_720p24.mp4": 600,
}
"""Each player's title, and the frame from which it watches."""
JUDGES = ("croatia_1080p25_annotated.mp4", "nasa_270p30_multistream.mp4", "bbb_1080p60_1s.webm")
WATCHED, UNSEEN, LEFT_OUT = 96, 48, 4
"""Frames to train on, frames to be held against, and those between them."""
KEEP, LOOKED_AT = 16, 6
NORM_MAX, MEMBERS = 1.0, 20


class Player:
    """own: to train on. unseen: the same of later frames. truth: later frames beside their source."""

    def __init__(self, name: str, own: TrainingPairs, unseen: TrainingPairs, truth: TrainingPairs) -> None:
        self.name, self.own, self.unseen, self.truth = name, own, unseen, truth


def read_player(path: Path, first: int, crf: float) -> Player:
    source = list(islice(decode_file(str(path)), first, first + WATCHED + LEFT_OUT + UNSEEN))
    low_px = int(source[0].width_px / SCALE) & ~1, int(source[0].height_px / SCALE) & ~1
    shown_px = int(low_px[0] * SCALE), int(low_px[1] * SCALE)
    shrink = PlainScaler(source[0].width_px, source[0].height_px, *low_px)
    came = list(decode_segment(compress([shrink.enhance(frame) for frame in source], crf)))
    later = range(WATCHED + LEFT_OUT, len(source))
    grow = PlainScaler(*low_px, *shown_px)
    fit = PlainScaler(source[0].width_px, source[0].height_px, *shown_px)
    truth = PairCollector()
    for index in later[:: max(1, len(later) // LOOKED_AT)]:
        truth.add(came[index], grow.enhance(came[index]), fit.enhance(source[index]))
    own = own_pairs(came[:WATCHED], SCALE, crf, KEEP)
    unseen = own_pairs([came[index] for index in later], SCALE, crf, LOOKED_AT)
    return Player(path.name, own, unseen, truth.pairs(picture_box))


def save(path: Path, pairs: TrainingPairs) -> None:
    np.savez(path, low=pairs.low, plain=pairs.plain, target=pairs.target, box=pairs.box)


def load(path: Path) -> TrainingPairs:
    with np.load(path) as file:
        box = tuple(int(edge) for edge in file["box"])
        return TrainingPairs(low=file["low"], plain=file["plain"], target=file["target"], box=box)  # type: ignore[arg-type]


class World:
    """All players and the server's clips, as `prepare` left them."""

    def __init__(self, folder: Path) -> None:
        names, self._before = list(PLAYERS), folder / "before.json"
        self.players = [
            Player(name, *(load(folder / f"{name}.{part}.npz") for part in ("own", "unseen", "truth")))
            for name in names
        ]
        self.judges = [HeldOut(name=name, pairs=load(folder / f"{name}.judge.npz")) for name in JUDGES]

    def look_before(self) -> dict[str, dict[str, float]]:
        """The same of what the program ships, kept from one run to the next."""
        if not self._before.is_file():
            self._before.write_text(json.dumps(self.look(generic_network(SCALE, TIER))))
        told: dict[str, dict[str, float]] = json.loads(self._before.read_text())
        return told

    def look(self, network: TunedNetwork) -> dict[str, dict[str, float]]:
        """Of each player: PSNR against the truth and against its own, and VMAF-NEG against the truth."""
        truths = [HeldOut(name=each.name, pairs=each.truth) for each in self.players]
        scores = score_clips(network, truths)
        return {
            each.name: {
                "truth_db": score.psnr_y_db,
                "truth_neg": score.vmaf_neg,
                "own_db": round(psnr_db(network, each.unseen), 4),
            }
            for each, score in zip(self.players, scores, strict=True)
        }


def gained(after: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What each figure is ahead by, player by player, and how many are ahead."""
    told: dict[str, Any] = {}
    for figure in ("truth_db", "truth_neg", "own_db"):
        by_player = {name: round(after[name][figure] - before[name][figure], 4) for name in after}
        told[figure] = {
            "mean": round(fmean(by_player.values()), 4),
            "ahead": sum(gain > 0 for gain in by_player.values()) / len(by_player),
            "players": by_player,
        }
    return told


def recipe(batch: int, steps: int, rate: float, detail: float) -> LocalRecipe:
    return LocalRecipe(steps=steps, batch=batch, rate=rate, detail_weight=detail, frames_full=KEEP)


def federate(
    world: World, local: LocalRecipe, rounds: int, dropout: float, seed: int, *, judged_by: bool = True
) -> tuple[TunedNetwork, list[dict[str, Any]]]:
    """The network that the server ends with, and what became of each round."""
    network = generic_network(SCALE, TIER)
    codec = UpdateCodec(count_values(network.architecture), NORM_MAX, MEMBERS)
    scores = shipped = score_clips(network, world.judges)
    told, random = [], Random(seed)
    for number in range(rounds):
        began_s = time.process_time()
        gone = set(random.sample(range(len(world.players)), round(dropout * len(world.players))))
        stage = STAGES[number % len(STAGES)]
        updates = [
            train_locally(network, [player.own], local, seed=1000 * seed + 100 * number + place)
            for place, player in enumerate(world.players)
            if not (place in gone and stage == "keys")  # who has gone before it joined need not be trained
        ]
        places = [place for place in range(len(world.players)) if not (place in gone and stage == "keys")]
        vectors = [codec.encode(update.values, update.weight) for update in updates]
        lost = {places.index(place) for place in gone if place in places}
        result = run_round(vectors, {stage: lost} if lost and stage != "keys" else {})
        if result.total is None:
            told.append({"outcome": str(result.round.outcome)})
            continue
        mean = codec.decode(result.total, result.round.survivors)
        candidate = network.moved(mean.values)
        judged = score_clips(candidate, world.judges)
        kept = is_better(judged, scores, shipped) or not judged_by
        told.append(
            _round_told(
                result.round.survivors,
                stage if lost or gone else "",
                kept,
                judged,
                scores,
                updates,
                mean,
                time.process_time() - began_s,
            )
        )
        sys.stderr.write(json.dumps(told[-1]) + "\n")
        if kept:
            network, scores = candidate, judged
    return network, told


def _round_told(
    survivors: int,
    stage: str,
    kept: bool,
    judged: Sequence[ClipScore],
    before: Sequence[ClipScore],
    updates: Sequence[Any],
    mean: Any,
    seconds: float,
) -> dict[str, Any]:
    return {
        "survivors": survivors,
        "vanish_at": stage,
        "kept": kept,
        "judged_db": round(fmean(each.psnr_y_db for each in judged) - fmean(each.psnr_y_db for each in before), 4),
        "judged_neg": round(fmean(each.vmaf_neg for each in judged) - fmean(each.vmaf_neg for each in before), 4),
        "update_norms": [round(float(np.linalg.norm(update.values)), 4) for update in updates],
        "mean_norm": round(float(np.linalg.norm(mean.values)), 4),
        "processor_s": round(seconds, 1),
    }


OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False)),
    click.option("--batch", default=16),
    click.option("--steps", default=20),
    click.option("--rounds", default=6),
    click.option("--rate", default=1e-4),
    click.option("--detail", default=0.03),
    click.option("--seed", default=1),
    click.option("--out", type=click.Path(path_type=Path)),
)


def with_options(command: Any) -> Any:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """See the module."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--clips", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--crf", default=34.0)
def prepare(folder: Path, clips: Path, crf: float) -> None:
    """Encode, shrink and keep the pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, first in PLAYERS.items():
        player = read_player(clips / name, first, crf)
        for part in ("own", "unseen", "truth"):
            save(folder / f"{name}.{part}.npz", getattr(player, part))
        print(name, player.own.low.shape, player.truth.target.shape, flush=True)
    for name in JUDGES:
        save(folder / f"{name}.judge.npz", read_held_out(clips / name, SCALE, crf).pairs)


@main.command()
@with_options
@click.option("--dropout", default=0.0)
@click.option("--judge/--no-judge", "judged_by", default=True, help="Keep every version without a judge.")
def run(
    judged_by: bool,
    folder: Path,
    batch: int,
    steps: int,
    rounds: int,
    rate: float,
    detail: float,
    seed: int,
    out: Path | None,
    dropout: float,
) -> None:
    """Rounds of a federation."""
    world = World(folder)
    before = world.look_before()
    network, told = federate(world, recipe(batch, steps, rate, detail), rounds, dropout, seed, judged_by=judged_by)
    _write(
        out,
        {
            "batch": batch,
            "dropout": dropout,
            "steps": steps,
            "rate": rate,
            "detail": detail,
            "rounds": told,
            "gained": gained(world.look(network), before),
        },
    )


@main.command()
@with_options
@click.option("--long", "is_long", is_flag=True)
def central(
    folder: Path,
    batch: int,
    steps: int,
    rounds: int,
    rate: float,
    detail: float,
    seed: int,
    out: Path | None,
    is_long: bool,
) -> None:
    """All pairs in one place, for as many steps as a player takes, or (`--long`) as all take."""
    world = World(folder)
    start = generic_network(SCALE, TIER)
    before = world.look_before()
    network = start
    pairs = [player.own for player in world.players]
    many = len(pairs)
    local = recipe(batch, many * steps, rate, detail) if is_long else recipe(many * batch, steps, rate, detail)
    for number in range(rounds):
        network = network.moved(train_locally(network, pairs, local, seed=seed + number).values)
    _write(
        out,
        {
            "batch": batch,
            "steps": steps,
            "rate": rate,
            "detail": detail,
            "central": "long" if is_long else "wide",
            "gained": gained(world.look(network), before),
        },
    )


def _write(out: Path | None, told: dict[str, Any]) -> None:
    text = json.dumps(told, indent=1)
    print(text)
    if out is not None:
        out.write_text(text + "\n")


if __name__ == "__main__":
    main()

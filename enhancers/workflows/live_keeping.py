"""The networks that a live stream has learnt become those of the title that it was kept as; for `toprung live --keep`.

    python -m enhancers.workflows.live_keeping --library DIR --title NAME --recording FILE --networks FOLDER

They are measured on the whole title, beside the generic ones, as `toprung train --weights` does it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from abr.core.enhancement import Tier
from abr.core.title import Title
from abr.errors import ToprungError
from abr.files import write_file
from enhancers.networks.checkpoint import digest, dumps_chunks, loads_chunks
from enhancers.prepared_title import open_title
from enhancers.training.title_training import TrainingPlan
from enhancers.training.title_weights import STORAGE, TrainedChunk, TrainedNetwork, WeightsCard, write_card
from enhancers.training.trainer import TrainingSettings
from enhancers.workflows.live_process import begin_beside
from enhancers.workflows.stream_weights import KeptNetwork, read_stream_weights
from enhancers.workflows.train_title import attach

TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)
_MADE_BY = "toprung live --train-share, while the stream ran"


def take_over(library: Path, title_id: str, recording: Path, networks: Sequence[KeptNetwork]) -> None:
    """Publish them with the title. Raises ToprungError."""
    prepared = open_title(library, title_id, recording)
    renditions = tuple(each.rendition for each in networks)
    plan = TrainingPlan(renditions=renditions, tiers=TIERS, recipe=TrainingSettings(steps=1), seed=0, made_by=_MADE_BY)
    with TemporaryDirectory() as folder:
        write_weights(Path(folder), prepared.title, networks)
        attach(
            prepared,
            plan,
            lambda _what, _done: None,
            given=Path(folder),
            export=None,
            generic_only=False,
            every_frames=prepared.title.meter.every_frames,
            with_plans=False,
        )


def write_weights(folder: Path, title: Title, networks: Sequence[KeptNetwork]) -> None:
    """As weights that were trained on the title's source: they were, frame by frame."""
    sizes = {each.id: (each.width_px, each.height_px) for each in title.renditions}
    trained = [
        _write_network(folder, each, sizes[each.rendition], title.source.sha256)
        for each in networks
        if each.rendition in sizes
    ]
    write_card(
        folder,
        WeightsCard(
            title=title.id,
            source_name=title.source.name,
            source_sha256=title.source.sha256,
            made_by=_MADE_BY,
            networks=tuple(trained),
        ),
    )


def _write_network(folder: Path, kept: KeptNetwork, size_px: tuple[int, int], source_sha256: str) -> TrainedNetwork:
    weights = replace(loads_chunks(kept.chunks), source_sha256=source_sha256, note=_MADE_BY)
    chunks = []
    for number, data in enumerate(dumps_chunks(weights, storage=STORAGE), start=1):
        name = f"{kept.rendition}-{number}.safetensors"
        write_file(folder / name, data)
        chunks.append(TrainedChunk(file=name, sha256=digest(data)))
    return TrainedNetwork(
        rendition=kept.rendition,
        width_px=size_px[0],
        height_px=size_px[1],
        architecture=str(weights.architecture),
        chunks=tuple(chunks),
        steps=0,
        seconds=0.0,
        chroma=str(weights.chroma or ""),
    )


def main() -> int:
    """0 when the title has them; otherwise why not, on stderr."""
    parser = argparse.ArgumentParser(prog="live_keeping")
    for name in ("library", "recording", "networks"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--title", required=True)
    given = parser.parse_args()
    begin_beside()
    try:
        take_over(given.library, given.title, given.recording, read_stream_weights(given.networks))
    except ToprungError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What learning a stream while it runs gains, without waiting for it: `python tests/bench/live_learning.py FILM`.

The film is encoded as `toprung live` does. Then the trainer itself gets its samples, in the order in which they come.
Its clock is its own processor time: a second of it is 1 / share seconds of the stream, so the machine may be busy.
Every ten seconds of the stream, what is published by then is scored on the next segment, beside plain playback and the
generic network of the deepest tier, both as they are offered.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import av
import msgspec
from click.testing import CliRunner

from abr.cli import root
from abr.core.enhancement import Family, Tier
from abr.core.live.learning import LearnRequest, LearntNetwork
from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.title import Quality, segment_file
from abr.records import load
from enhancers.measurement.offers import OfferCandidate
from enhancers.networks import catalog
from enhancers.workflows.live_quality import STRENGTH
from enhancers.workflows.live_sample import LiveSample, Row, read_sample, title_of_rows, trusted_rows
from enhancers.workflows.live_training import LiveTrainer
from server.live.learning.learning import SPREAD, WAITING_MAX
from server.live.learning.published_weights import PublishedWeights
from server.live.samples.files import SampledStream, sampled_places, write_sample

BEGIN_S = 4.0
"""When the trainer is ready: it imports what it needs first."""
EVERY_S = 10.0


def processor_s() -> float:
    """Of this process and its children."""
    return sum(os.times()[:4])


@dataclass(kw_only=True)
class Film:
    """An encoded film, whose samples come again and again."""

    stream: SampledStream
    samples: list[Path]
    sizes: tuple[int, ...]

    def sample(self, segment: int) -> Path:
        return self.samples[segment % len(self.samples)]

    def rung_bytes(self, segments: int) -> int:
        return sum(self.sizes[segment % len(self.sizes)] for segment in range(segments))


def encode(film: Path, home: Path, heights: str) -> Film:
    command = ["live", str(film), "--library", str(home), "--name", "cam", "--window", "1h", "--measure-share", "0"]
    done = CliRunner().invoke(root, [*command, "--heights", heights])
    assert done.exit_code == 0, done.stderr
    tables = load(home / "cam" / TABLES_FILE, LiveTables)
    frames = tables.typical.segment_frames[0]
    stream = SampledStream(
        folder=home / "cam",
        work=home / "work",
        rungs=[each.id for each in tables.typical.renditions],
        segment_frames=frames,
        segment_s=tables.segment_s,
    )
    places, samples, taken = sampled_places(frames, SPREAD), [], {}
    with av.open(str(film)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            segment, place = divmod(number, frames)
            if place in places:
                taken[place] = picture.reformat(format="yuv420p")
            if place == frames - 1 and (stream.folder / "video" / stream.rungs[0] / segment_file(segment)).is_file():
                samples.append(write_sample(stream, segment, taken))
                taken = {}
    return Film(stream=stream, samples=samples, sizes=tables.sizes[stream.rungs[0]])


def judge(folder: Path, rung: str, network: LearntNetwork | None, made: Path) -> dict[str, float]:
    sample = read_sample(folder)
    title = sample.title
    place = [each.id for each in title.renditions].index(rung)
    title = msgspec.structs.replace(title, renditions=title.renditions[place : place + 2])
    rendition = title.renditions[0]
    scale = catalog.scale_for(rendition.height_px, title.display_height_px)
    assert scale is not None
    row = Row(plain={each.id: sample.score_plain(each, sample.frames_of(each)) for each in title.renditions}, lifted={})
    best = catalog.architecture(scale, Tier.HIGH)
    lifts = {
        "generic": OfferCandidate(
            family=Family.GENERIC,
            tier=Tier.HIGH,
            rendition=rendition,
            architecture=str(best),
            chunks=catalog.generic_chunks(best),
            strength=STRENGTH,
        )
    }
    if network is not None:
        chunks = tuple((made / Path(chunk.file).name).read_bytes() for chunk in network.offer.chunks)
        own = replace(lifts["generic"], family=Family.CONTENT, tier=network.tier, chunks=chunks)
        lifts["learnt"] = replace(own, architecture=network.offer.architecture, strength=network.offer.strength)
    for key, candidate in lifts.items():
        row.lifted[key] = score(sample, candidate)
    whole = title_of_rows(title, [row])
    plain = row.plain[rung]
    told = {"plain": plain.vmaf[0], "plain_neg": plain.vmaf_neg[0]}
    for key in lifts:
        quality = trusted_rows(whole, rung, key, [row])
        told |= {key: quality.trusted[0], f"{key}_vmaf": quality.vmaf[0], f"{key}_neg": quality.vmaf_neg[0]}
    return {name: round(value, 2) for name, value in told.items()}


def score(sample: LiveSample, candidate: OfferCandidate) -> Quality:
    return sample.score(sample.frames_of(candidate.rendition), candidate.open(sample.prepared).enhancer.enhance)


def learn(film: Film, seconds: float, share: float, weights_share: float) -> dict[str, object]:
    segment_s, made = film.stream.segment_s, film.stream.work / "made"
    made.mkdir(parents=True, exist_ok=True)
    shelf = PublishedWeights(folder=film.stream.work / "shelf", share=weights_share, keep_s=60.0)
    trainer = LiveTrainer(made, lambda: None)
    now_s, begun = BEGIN_S, 0
    networks: tuple[LearntNetwork, ...] = ()
    in_force: list[tuple[float, tuple[LearntNetwork, ...]]] = []
    published, rows, next_s = [], [], EVERY_S
    while now_s < seconds:
        listed = int(now_s / segment_s)
        waiting = list(range(max(begun, listed - WAITING_MAX), listed))
        if not waiting:
            now_s += segment_s / 4
            continue
        begun = listed
        allowance = shelf.allowance_bytes(film.rung_bytes(listed), listed * segment_s)
        folders = tuple(str(film.sample(segment)) for segment in waiting)
        request = LearnRequest(folders=folders, segments=tuple(waiting), allowance_bytes=allowance)
        before_s = processor_s()
        answer = trainer.score(request)
        scored_s = processor_s()
        at_s = now_s + (scored_s - before_s) / share
        chunks = [chunk for network in answer.networks for chunk in network.offer.chunks]
        if shelf.put(chunks, made, allowance):
            published.append({"at_s": round(at_s, 1), "bytes": shelf.published_bytes})
        if answer.networks != networks:
            networks = answer.networks
            in_force.append((at_s, networks))
        trainer.learn(request)
        now_s += (processor_s() - before_s) / share
        print(f"{now_s:.1f} s: {trainer.state} {[(n.offer.rendition, n.gain) for n in networks]}", file=sys.stderr)
        while next_s <= min(now_s, seconds):
            rows.append(judged(film, next_s, in_force, made))
            next_s += EVERY_S
    return {
        "share": share,
        "seconds": seconds,
        "first_s": published[0]["at_s"] if published else None,
        "publications": published,
        "bytes_share": round(shelf.published_bytes / film.rung_bytes(int(seconds / segment_s)), 4),
        "rows": rows,
    }


def judged(
    film: Film, at_s: float, in_force: list[tuple[float, tuple[LearntNetwork, ...]]], made: Path
) -> dict[str, float]:
    """The last segment that is whole by then, with what tables named two segments earlier."""
    segment = int(at_s / film.stream.segment_s) - 1
    decided_s = segment * film.stream.segment_s
    networks = next((found for since_s, found in reversed(in_force) if since_s <= decided_s), ())
    rungs = [film.stream.rungs[0]]
    row = {"at_s": at_s}
    for rung in rungs:
        network = next((each for each in networks if each.offer.rendition == rung), None)
        row |= judge(film.sample(segment), rung, network, made)
    print(row, file=sys.stderr)
    return row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("film", type=Path)
    parser.add_argument("--heights", default="180,240,360,480,720")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--weights-share", type=float, default=0.03)
    arguments = parser.parse_args()
    home = Path(mkdtemp(prefix="toprung-learning-"))
    try:
        began_s = time.time()
        found = learn(
            encode(arguments.film, home, arguments.heights),
            arguments.seconds,
            arguments.share,
            arguments.weights_share,
        )
        told = {"film": arguments.film.name, "took_s": round(time.time() - began_s), "load": os.getloadavg()[1]}
        print(json.dumps(told | found))
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()

"""`toprung bench enhance`: what enhancers buy a clip, rung by rung and over the whole ladder.

The clip is prepared by `toprung prepare` itself, trained as `toprung train` does, planned anew with its enhancers in
mind, and trained again on that ladder. Every figure is of pictures as the runtime shows them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from abr.bdrate import Point, bd_rate
from abr.enhancement import EnhancementTable, Family, Offer, Tier
from abr.errors import InputError, ToprungError
from abr.formats import dumps_pretty
from abr.ladder import LADDER_FILE
from abr.media import Quality, Rendition, Title, segment_file
from abr.plots import curves
from enhancers.checkpoint import dumps_chunks
from enhancers.content import STORAGE, liftable, train_rendition, weights_of
from enhancers.job import Plan, Progress, working_on
from enhancers.ladder import plan_ladder, read_chunks
from enhancers.offers import candidates, measured
from enhancers.runtime import offered_weights
from enhancers.speed import Speed
from enhancers.speed import speed as measured_speed
from enhancers.titles import INIT_FILE, PreparedTitle, open_title, title_pairs
from enhancers.train import Recipe
from enhancers.training import attach, selected

TRAIN_TIMES = 9.0
"""Training takes so many times the clip's duration unless told otherwise."""
_PLANNED, _ID_LENGTH_MAX = "-planned", 56
"""What the name of the title with the planned ladder ends with; names of titles have up to 64 characters."""
TITLE_S = 600.0
"""Weights are downloaded once; their bytes are spread over a title of this length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Means over a title inside the picture, each segment weighing as long as it lasts; black frames left out."""

    vmaf: float
    vmaf_neg: float
    psnr_y: float
    ssim: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """One enhancer on one rung. Frames a second of the whole machine; peak_share: of its fastest convolution.

    All three None when speed was not to be measured.
    """

    family: str
    tier: str
    architecture: str
    figures: Figures
    weights_bytes: int
    macs_per_output_px: float
    fps_end_to_end: float | None = None
    fps_network: float | None = None
    peak_share: float | None = None

    def as_json(self) -> dict[str, object]:
        found: dict[str, object] = asdict(self)
        del found["figures"]
        return asdict(self.figures) | found


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rung, plain and by everything that is offered for it."""

    id: str
    width_px: int
    height_px: int
    kbps: float
    plain: Figures
    enhancers: Mapping[str, Lifted]

    def point(self, metric: str, families: Sequence[str] = ()) -> Point:
        """Rate in kbit/s and quality, by the enhancer of these families with the best VMAF; plain without one."""
        able = [lifted for lifted in self.enhancers.values() if lifted.family in families]
        best = max(able, key=lambda lifted: lifted.figures.vmaf, default=None)
        if best is None:
            return self.kbps, getattr(self.plain, metric)
        return self.kbps + best.weights_bytes * 8 / TITLE_S / 1000, getattr(best.figures, metric)

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "width_px": self.width_px,
            "height_px": self.height_px,
            "kbps": round(self.kbps, 3),
            "plain": asdict(self.plain),
            "enhancers": {name: lifted.as_json() for name, lifted in self.enhancers.items()},
        }


BOTH = (str(Family.GENERIC), str(Family.CONTENT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The rungs of the usual ladder and of the planned one (none when it was not asked for), and seconds spent."""

    clip: str
    usual: Sequence[Row]
    planned: Sequence[Row]
    training: Sequence[Mapping[str, float]]
    seconds: Mapping[str, float]

    def curves(self, metric: str) -> dict[str, list[Point]]:
        """Rate–quality points by name, the plain usual ladder first."""
        curves = {
            "plain": [row.point(metric) for row in self.usual],
            "generic": [row.point(metric, BOTH[:1]) for row in self.usual],
            "content_aware": [row.point(metric, BOTH) for row in self.usual],
        }
        if self.planned:
            curves["plain_ladder"] = [row.point(metric) for row in self.planned]
            curves["content_aware_ladder"] = [row.point(metric, BOTH) for row in self.planned]
        return curves

    def bd_rates(self, metric: str) -> dict[str, float | None]:
        """Percent of rate against the plain usual ladder; None where nothing was planned or curves share no quality."""
        curves = self.curves(metric)
        plain = curves.pop("plain")
        rates = {name: _rate_or_none(plain, points) for name, points in curves.items()}
        return {"content_aware_ladder": None} | rates

    def as_json(self) -> dict[str, object]:
        return {
            "clip": self.clip,
            "bd_rate_vmaf": self.bd_rates("vmaf"),
            "bd_rate_vmaf_neg": self.bd_rates("vmaf_neg"),
            "bd_rate_psnr": self.bd_rates("psnr_y"),
            "rungs": [row.as_json() for row in self.usual],
            "ladder_rungs": [row.as_json() for row in self.planned],
            "training": list(self.training),
            "seconds": dict(self.seconds),
        }

    def as_text(self) -> str:
        lines = [
            f"{'rung':<14}{'kbit/s':>8} {'enhancer':<16}{'kB':>5}{'VMAF':>8}{'NEG':>8}{'PSNR':>8}{'fps':>7}{'peak':>6}"
        ]
        for row in (*self.usual, *self.planned):
            lines.append(f"{row.id:<14}{row.kbps:8.0f} {'plain':<16}{'':>5}{_three(row.plain)}")
            for name, lifted in row.enhancers.items():
                speeds = f"{lifted.fps_end_to_end:7.0f}{lifted.peak_share:6.0%}" if lifted.fps_end_to_end else ""
                lines.append(f"{'':<22} {name:<16}{lifted.weights_bytes / 1000:5.0f}{_three(lifted.figures)}{speeds}")
        for metric in ("vmaf", "vmaf_neg", "psnr_y"):
            told = ", ".join(
                f"{name} {rate:+.1f} %" for name, rate in self.bd_rates(metric).items() if rate is not None
            )
            lines.append(f"BD-rate ({metric}) against the plain ladder: {told}")
        for point in self.training:
            told = f"VMAF {point['vmaf']:.2f}, NEG {point['vmaf_neg']:.2f}, PSNR {point['psnr_y']:.2f}"
            lines.append(f"Lowest rung after {point['seconds']:g} s of training: {told}")
        return "\n".join(lines)


def _three(figures: Figures) -> str:
    return f"{figures.vmaf:8.2f}{figures.vmaf_neg:8.2f}{figures.psnr_y:8.2f}"


def _rate_or_none(before: Sequence[Point], after: Sequence[Point]) -> float | None:
    try:
        return round(bd_rate(before, after), 3)
    except InputError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to do. Seconds: of training a ladder (0: TRAIN_TIMES the clip), of measuring a network (0: no speeds).

    prepare: options of toprung prepare; usual: those of the usual ladder only.
    weights: a folder of trained weights for the usual ladder, instead of training. curve_s: training times to plot.
    """

    train_seconds: float
    tiers: tuple[Tier, ...]
    content: bool
    planned: bool
    every_frames: int
    speed_seconds: float
    prepare: Sequence[str] = ()
    usual: Sequence[str] = ()
    weights: Path | None = None
    curve_s: tuple[float, ...] = ()
    seed: int = 1
    threads: int = 1


def run(clip: Path, library: Path, asked: Asked, progress: Progress) -> Found:
    """Do it all inside `library`; titles that are there already are used. Raises ToprungError's kin."""
    seconds: dict[str, float] = {}
    prepare = ("--vmaf-every", str(asked.every_frames), *asked.prepare)
    prepared = prepared_title(clip, library, (*prepare, *asked.usual))
    table = _attached(prepared, asked, asked.weights, seconds, "usual", progress)
    usual = rows(prepared, table, asked.speed_seconds)
    curve = training_curve(prepared, asked, progress) if asked.curve_s else []
    planned: Sequence[Row] = ()
    if asked.planned:
        plan, _ = plan_ladder(prepared, table, progress)
        path = library / f"{prepared.title.id}.{LADDER_FILE}"
        path.write_bytes(dumps_pretty(plan))
        id_ = f"{prepared.title.id[:_ID_LENGTH_MAX]}{_PLANNED}"
        second = prepared_title(clip, library, (*prepare, "--ladder", str(path), "--id", id_))
        lifted = _attached(second, asked, None, seconds, "planned", progress)
        planned = rows(second, lifted, asked.speed_seconds)
    return Found(clip=clip.name, usual=usual, planned=planned, training=curve, seconds=seconds)


def prepared_title(clip: Path, library: Path, options: Sequence[str]) -> PreparedTitle:
    """The clip as a title, prepared by the program itself as a user would. Raises InputError or ToprungError as it."""
    where = ("--library", str(library.absolute()), "--json")
    command = [sys.executable, "-m", "abr", "prepare", *where, *options, "--", str(clip.absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        kind = InputError if done.returncode == InputError.exit_code else ToprungError
        raise kind(done.stderr.strip().removeprefix("toprung: ") or f"toprung prepare {clip} was ended.")
    return open_title(library, json.loads(done.stdout)["title"], clip)


def _attached(
    prepared: PreparedTitle,
    asked: Asked,
    weights: Path | None,
    seconds: dict[str, float],
    name: str,
    progress: Progress,
) -> EnhancementTable:
    train_s = asked.train_seconds or TRAIN_TIMES * prepared.title.duration_s
    renditions = tuple(liftable(prepared.title))
    plan = Plan(
        renditions=renditions,
        tiers=asked.tiers,
        recipe=Recipe(seconds=train_s, threads=asked.threads),
        seed=asked.seed,
        made_by=f"toprung bench enhance --train-seconds {train_s:g} --seed {asked.seed}",
    )
    attached = attach(
        prepared,
        plan,
        progress,
        given=weights,
        export=None,
        generic_only=not (asked.content and renditions),
        every_frames=asked.every_frames,
    )
    seconds |= {f"{name}_{what}": spent for what, spent in attached.seconds.items()}
    return attached.table


def rows(prepared: PreparedTitle, table: EnhancementTable, speed_seconds: float) -> list[Row]:
    """Every rung with every offer; a network's speed is measured once a size."""
    title = prepared.title
    speeds: dict[tuple[str, str], Speed] = {}
    found = []
    for rendition in title.renditions:
        lifted = {}
        for entry in table.enhancers:
            offer = entry.offer(rendition.id)
            if offer is None:
                continue
            key = offer.architecture, rendition.id
            if key not in speeds and speed_seconds:
                speeds[key] = _speed(prepared, rendition, offer, speed_seconds)
            speed = speeds.get(key)
            lifted[entry.name] = Lifted(
                family=str(entry.family),
                tier=str(entry.tier),
                architecture=offer.architecture,
                figures=figures(title, offer.quality),
                weights_bytes=sum(chunk.size_bytes for chunk in offer.chunks),
                macs_per_output_px=offer.macs_per_output_px,
                fps_end_to_end=round(speed.fps_end_to_end, 1) if speed else None,
                fps_network=round(speed.fps_network, 1) if speed else None,
                peak_share=round(speed.peak_share, 4) if speed else None,
            )
        found.append(
            Row(
                id=rendition.id,
                width_px=rendition.width_px,
                height_px=rendition.height_px,
                kbps=rendition.average_bps / 1000,
                plain=figures(title, title.plain_quality[rendition.id]),
                enhancers=lifted,
            )
        )
    return found


def _speed(prepared: PreparedTitle, rendition: Rendition, offer: Offer, seconds: float) -> Speed:
    folder = prepared.folder / "video" / rendition.id
    segment = (folder / INIT_FILE).read_bytes() + (folder / segment_file(0)).read_bytes()
    return measured_speed(
        offered_weights(offer, read_chunks(prepared, offer)),
        segment,
        size_px=(rendition.width_px, rendition.height_px),
        display_px=prepared.display_px,
        seconds=seconds,
    )


def figures(title: Title, quality: Quality) -> Figures:
    """Means over the title."""

    def mean(values: Sequence[float]) -> float:
        return round(float(np.average(values, weights=title.segment_frames)), 4)

    return Figures(
        vmaf=mean(quality.vmaf),
        vmaf_neg=mean(quality.vmaf_neg),
        psnr_y=mean(quality.psnr_y_db),
        ssim=mean(quality.ssim),
    )


def training_curve(prepared: PreparedTitle, asked: Asked, progress: Progress) -> list[dict[str, float]]:
    """Quality of the lowest rung by its deepest exit against seconds of training; 0 is the generic network."""
    id_ = selected(prepared, None)[0]
    scale = liftable(prepared.title)[id_]
    tier = asked.tiers[-1]
    pairs = title_pairs(prepared, {id_: scale}, frames_max=160)[id_]
    found = []
    for number, seconds in enumerate((0.0, *asked.curve_s)):
        progress(f"Training {id_} for {seconds:g} s", number / (len(asked.curve_s) + 1))
        networks: dict[str, list[bytes]] = {}
        if seconds:
            recipe = Recipe(seconds=seconds, threads=asked.threads)
            trained = train_rendition(pairs, asked.tiers, recipe, seed=asked.seed)
            weights = weights_of(trained, asked.tiers, pairs, prepared.title.source.sha256)
            networks = {id_: dumps_chunks(weights, storage=STORAGE)}
        family = Family.CONTENT if seconds else Family.GENERIC
        wanted = [
            each
            for each in candidates(prepared, networks, (tier,))
            if each.family is family and each.tier is tier and each.rendition.id == id_
        ]
        with working_on(prepared) as work:
            (quality,) = measured(prepared, wanted, asked.every_frames, work, progress).values()
        found.append({"seconds": seconds, **asdict(figures(prepared.title, quality))})
    return found


def plots(found: Found) -> dict[str, str]:
    """SVG documents by the ending of their file's name: rate–quality, and quality against training time if measured."""
    made = {".svg": curves(found.curves("vmaf"), across="kbit/s with weights", up=f"VMAF of {found.clip}", log=True)}
    if found.training:
        lines = {
            metric: [(point["seconds"], point[metric]) for point in found.training] for metric in ("vmaf", "vmaf_neg")
        }
        made[".training.svg"] = curves(
            lines, across="seconds of training on the title", up="Quality of the lowest rung"
        )
    return made

"""`toprung bench enhance`: the gain of enhancers on a clip, for each rung and for the whole ladder.

The clip is prepared by `toprung prepare` itself, and trained as `toprung train` does. Then a ladder
is planned that counts on the enhancers, and trained too. Every figure is of pictures as the runtime shows them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from abr.core.enhancement import Family, Tier
from abr.core.ladder_plan import LADDER_FILE
from abr.errors import InputError, ToprungError
from abr.evaluation.plots import curves
from abr.files import write_file
from abr.progress import ShareListener
from abr.quality.bdrate import Point, bd_rate
from abr.quality.panel import PANEL
from abr.records import dumps_pretty
from enhancers.bench.pairs import write_pairs
from enhancers.bench.rivals import find_rivals, measure_rivals
from enhancers.bench.rung_results import Figures, RungResult, figures_of, measure_rungs
from enhancers.measurement.ladder_planner import plan_ladder
from enhancers.measurement.offers import list_candidates, measure_candidates
from enhancers.measurement.provenance import Provenance, trace_clip
from enhancers.networks.catalog import network_scales
from enhancers.networks.checkpoint import dumps_chunks
from enhancers.prepared_title import PreparedTitle, open_title
from enhancers.training.title_pairs import read_title_pairs
from enhancers.training.title_training import TrainingPlan
from enhancers.training.title_weights import STORAGE, collapse_and_calibrate, train_rendition
from enhancers.training.trainer import TrainingSettings
from enhancers.work_folder import hold_work_folder
from enhancers.workflows.train_title import AttachResult, attach, select_renditions

TRAIN_TIMES = 9.0
"""Default training time, in durations of the clip."""
_EXCERPTS = 2
"""Segments of which pairs are made."""
_PLANNED, _ID_LENGTH_MAX = "-planned", 56
"""What the name of the title with the planned ladder ends with; names of titles have up to 64 characters."""
PANEL_MEAN = ("ssimulacra2", "ms_ssim", "psnr_hvs_db", "xpsnr_y_db")
"""Members that no training sees: their mean leads."""
_LESS_IS_BETTER = tuple(member.name for member in PANEL if not member.higher_is_better)
_COLUMNS = {
    "trusted": ("trusted", 2),
    "vmaf": ("VMAF", 2),
    "vmaf_neg": ("NEG", 2),
    "ssimulacra2": ("SSIMU2", 2),
    "ms_ssim": ("MS-SSIM", 4),
    "psnr_hvs_db": ("P-HVS", 2),
    "xpsnr_y_db": ("XPSNR", 2),
    "psnr_y_db": ("PSNR", 2),
    "erqa": ("ERQA", 3),
    "ciede2000": ("CIEDE", 3),
    "flicker": ("flicker", 3),
}
"""Member: heading of its column, digits after the point."""
_HEADINGS = "".join(f"{heading:>9}" for heading, _ in _COLUMNS.values())
BOTH = (str(Family.GENERIC), str(Family.CONTENT))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhanceBenchResult:
    """The rungs of the usual ladder and of the planned one (empty without one), and the seconds that each step took.

    refused: enhancers of the usual ladder that are not offered, and which members of the panel say why.
    """

    clip: str
    provenance: Provenance
    usual: Sequence[RungResult]
    planned: Sequence[RungResult]
    training: Sequence[Mapping[str, float]]
    seconds: Mapping[str, float]
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)

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
        sign = -1.0 if metric in _LESS_IS_BETTER else 1.0
        curves = {
            name: [(rate, sign * value) for rate, value in points] for name, points in self.curves(metric).items()
        }
        plain = curves.pop("plain")
        rates = {name: _bd_rate_or_none(plain, points) for name, points in curves.items()}
        return {"content_aware_ladder": None} | rates

    @property
    def metrics(self) -> list[str]:
        """Trusted quality and every member of the panel that this title was measured by."""
        told = self.usual[0].plain if self.usual else {}
        return [name for name in ("trusted", *(member.name for member in PANEL)) if name in told]

    def panel_mean(self) -> dict[str, float | None]:
        """Mean BD-rate over the members that the networks are not trained by; None where one has none."""
        rates = [self.bd_rates(name) for name in PANEL_MEAN if name in self.metrics]
        return {name: _mean_or_none([each[name] for each in rates]) for name in (rates[0] if rates else ())}

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        return {
            "clip": self.clip,
            "training_of_generic_weights": self.provenance.as_json(),
            "bd_rate_panel_mean": self.panel_mean(),
            "bd_rate": {name: self.bd_rates(name) for name in self.metrics},
            "rungs": [row.as_json() for row in self.usual],
            "ladder_rungs": [row.as_json() for row in self.planned],
            "training": list(self.training),
            "refused": {name: list(members) for name, members in self.refused.items()},
            "seconds": dict(self.seconds),
        }

    def as_text(self) -> str:
        """The same as lines for a terminal."""
        lines = [f"{'rung':<14}{'kbit/s':>8} {'enhancer':<20}{'kB':>5}{'kMAC':>6}{_HEADINGS}{'fps':>7}{'peak':>6}"]
        for row in (*self.usual, *self.planned):
            lines.append(f"{row.id:<14}{row.kbps:8.0f} {'plain':<20}{'':>11}{_format_figures(row.plain)}")
            for name, lifted in row.enhancers.items():
                speeds = f"{lifted.fps_end_to_end:7.0f}{lifted.peak_share:6.0%}" if lifted.fps_end_to_end else ""
                macs = lifted.macs_per_output_px
                kmac = " " * 6 if macs is None else f"{macs / 1000:6.1f}"
                cells = f"{lifted.weights_bytes / 1000:5.0f}{kmac}{_format_figures(lifted.figures)}{speeds}"
                lines.append(f"{'':<22} {name:<20}{cells}")
        rates = {"panel mean": self.panel_mean()} | {name: self.bd_rates(name) for name in self.metrics}
        lines.append(f"BD-rate against the plain ladder; panel mean: of {', '.join(PANEL_MEAN)}")
        for metric, found in rates.items():
            text = ", ".join(f"{name} {rate:+.1f} %" for name, rate in found.items() if rate is not None)
            lines.append(f"{metric:<14} {text}")
        lines += [f"not offered: {name}, worse by {', '.join(members)}" for name, members in self.refused.items()]
        for point in self.training:
            text = f"VMAF {point['vmaf']:.2f}, NEG {point['vmaf_neg']:.2f}, PSNR {point['psnr_y_db']:.2f}"
            lines.append(f"Lowest rung after {point['seconds']:g} s of training: {text}")
        return "\n".join([*lines, self.provenance.as_text()])


def _format_figures(figures: Figures) -> str:
    return "".join(
        f"{figures[name]:9.{digits}f}" if name in figures else " " * 9 for name, (_, digits) in _COLUMNS.items()
    )


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 3) if known and len(known) == len(values) else None


def _bd_rate_or_none(before: Sequence[Point], after: Sequence[Point]) -> float | None:
    try:
        return round(bd_rate(before, after), 3)
    except InputError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhanceBenchOptions:
    """What to measure.

    train_seconds: for a whole ladder; 0 for TRAIN_TIMES the clip. speed_seconds: for each network; 0 leaves speeds out.
    prepare: options of toprung prepare. usual: further ones, for the usual ladder only.
    weights: a folder of trained weights for the usual ladder, instead of training. curve_s: training times to plot.
    pairs: a folder for blind pairs of the usual ladder's pictures, for people to rate. rivals: a folder of other
    people's upscalers, measured beside ours.
    """

    train_seconds: float
    tiers: tuple[Tier, ...]
    content: bool
    planned: bool
    every_frames: int
    panel_every: int = 1
    speed_seconds: float
    prepare: Sequence[str] = ()
    usual: Sequence[str] = ()
    weights: Path | None = None
    curve_s: tuple[float, ...] = ()
    pairs: Path | None = None
    rivals: Path | None = None
    seed: int = 1
    threads: int = 1


def run(clip: Path, library: Path, options: EnhanceBenchOptions, progress: ShareListener) -> EnhanceBenchResult:
    """Prepare, train, measure and plan inside `library`, with the titles that are there. Raises ToprungError."""
    seconds: dict[str, float] = {}
    rivals = find_rivals(options.rivals) if options.rivals else []
    sampling = ("--vmaf-every", str(options.every_frames), "--panel-every", str(options.panel_every))
    prepare = (*sampling, *options.prepare)
    prepared = prepare_clip(clip, library, (*prepare, *options.usual))
    provenance = trace_clip(clip)
    attached = _train_and_attach(prepared, options, options.weights, seconds, "usual", progress)
    table = attached.table
    usual = measure_rungs(prepared, table, options.speed_seconds)
    if rivals:
        theirs = measure_rivals(prepared, rivals, options.every_frames, progress)
        usual = [replace(row, enhancers={**row.enhancers, **theirs.get(row.id, {})}) for row in usual]
    if options.pairs and attached.table.enhancers:
        write_pairs(prepared, attached.table, options.pairs, excerpts=_EXCERPTS, seed=options.seed, progress=progress)
    curve = measure_training_curve(prepared, options, progress) if options.curve_s else []
    planned: Sequence[RungResult] = ()
    if options.planned:
        plan, _ = plan_ladder(prepared, table, progress)
        path = library / f"{prepared.title.id}.{LADDER_FILE}"
        write_file(path, dumps_pretty(plan))
        id_ = f"{prepared.title.id[:_ID_LENGTH_MAX]}{_PLANNED}"
        second = prepare_clip(clip, library, (*prepare, "--ladder", str(path), "--id", id_))
        lifted = _train_and_attach(second, options, None, seconds, "planned", progress)
        planned = measure_rungs(second, lifted.table, options.speed_seconds)
    return EnhanceBenchResult(
        clip=clip.name,
        provenance=provenance,
        usual=usual,
        planned=planned,
        refused=attached.refused,
        training=curve,
        seconds=seconds,
    )


def prepare_clip(clip: Path, library: Path, options: Sequence[str]) -> PreparedTitle:
    """Run `toprung prepare` on the clip as a user would. Raises InputError or ToprungError, as the command does."""
    where = ("--library", str(library.absolute()), "--json")
    command = [sys.executable, "-m", "abr", "prepare", *where, *options, "--", str(clip.absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        kind = InputError if done.returncode == InputError.exit_code else ToprungError
        raise kind(done.stderr.strip().removeprefix("toprung: ") or f"toprung prepare {clip} was ended.")
    return open_title(library, json.loads(done.stdout)["title"], clip)


def _train_and_attach(
    prepared: PreparedTitle,
    options: EnhanceBenchOptions,
    weights: Path | None,
    seconds: dict[str, float],
    name: str,
    progress: ShareListener,
) -> AttachResult:
    train_s = options.train_seconds or TRAIN_TIMES * prepared.title.duration_s
    renditions = tuple(network_scales(prepared.title))
    plan = TrainingPlan(
        renditions=renditions,
        tiers=options.tiers,
        recipe=TrainingSettings(seconds=train_s, threads=options.threads),
        seed=options.seed,
        made_by=f"toprung bench enhance --train-seconds {train_s:g} --seed {options.seed}",
    )
    attached = attach(
        prepared,
        plan,
        progress,
        given=weights,
        export=None,
        generic_only=not (options.content and renditions),
        every_frames=options.every_frames,
        with_plans=False,
    )
    seconds |= {f"{name}_{what}": spent for what, spent in attached.seconds.items()}
    return attached


def measure_training_curve(
    prepared: PreparedTitle, options: EnhanceBenchOptions, progress: ShareListener
) -> list[dict[str, float]]:
    """Quality of the lowest rung by its deepest exit against seconds of training; 0 is the generic network."""
    id_ = select_renditions(prepared, None)[0]
    scale = network_scales(prepared.title)[id_]
    tier = options.tiers[-1]
    pairs = read_title_pairs(prepared, {id_: scale}, frames_max=160)[id_]
    curve = []
    for number, seconds in enumerate((0.0, *options.curve_s)):
        progress(f"Training {id_} for {seconds:g} s", number / (len(options.curve_s) + 1))
        networks: dict[str, list[bytes]] = {}
        if seconds:
            recipe = TrainingSettings(seconds=seconds, threads=options.threads)
            trained = train_rendition(pairs, options.tiers, recipe, seed=options.seed)
            weights = collapse_and_calibrate(trained, options.tiers, pairs, prepared.title.source.sha256)
            networks = {id_: dumps_chunks(weights, storage=STORAGE)}
        family = Family.CONTENT if seconds else Family.GENERIC
        wanted = [
            each
            for each in list_candidates(prepared, networks, (tier,))
            if each.family is family and each.tier is tier and each.rendition.id == id_
        ]
        with hold_work_folder(prepared) as work:
            (quality,) = measure_candidates(prepared, wanted, options.every_frames, work, progress).values()
        curve.append({"seconds": seconds, **figures_of(prepared.title, quality)})
    return curve


def draw_plots(result: EnhanceBenchResult) -> dict[str, str]:
    """SVG documents by the ending of their file's name: rate–quality, and quality against training time if measured."""
    drawings = {
        ".svg": curves(
            result.curves("trusted"), across="kbit/s with weights", up=f"Trusted quality of {result.clip}", log=True
        )
    }
    if result.training:
        lines = {
            metric: [(point["seconds"], point[metric]) for point in result.training] for metric in ("vmaf", "vmaf_neg")
        }
        drawings[".training.svg"] = curves(
            lines, across="seconds of training on the title", up="Quality of the lowest rung"
        )
    return drawings

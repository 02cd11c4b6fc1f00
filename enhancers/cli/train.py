"""`toprung train`, `plan-ladder` and benchmarks. Heavy packages are imported when a command runs."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.core.enhancement import Currency, Tier
from abr.extras import require
from abr.finite_range import FiniteRange
from abr.media.video_codecs import VideoCodec
from abr.progress import show_progress, show_share

if TYPE_CHECKING:
    from abr.progress import ProgressListener
    from enhancers.workflows.train_job import TrainJob

_SHOW_DEFAULT = {"show_default": True}


class _Tiers(click.ParamType):  # type: ignore[type-arg]
    """A comma-separated list of tiers."""

    name = "T,T,…"
    _trainable = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Tier, ...]:
        if isinstance(value, tuple):
            return value
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        if not names or any(name not in self._trainable for name in names):
            self.fail(f"{value!r} is not a list of tiers; give some of {','.join(self._trainable)}.", param, ctx)
        return tuple(tier for tier in self._trainable if tier in names)


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("titles", nargs=-1, required=True, metavar="TITLE...")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--source", type=click.Path(path_type=Path, dir_okay=False), help="What the title was prepared from.")
@click.option("--sources", type=click.Path(path_type=Path, file_okay=False), help="Folder with what each came from.")
@click.option("--seconds", type=FiniteRange(min=1), default=600.0, help="Training time, all rungs together.")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps instead of time: repeatable exactly.")
@click.option("--tiers", type=_Tiers(), default="low,medium,high", help="Tiers to train, measure and offer.")
@click.option("--rungs", help="Only these renditions, such as 180p,240p.")
@click.option("--detail", type=FiniteRange(0, 1), default=0.03, help="More for VMAF, 0 for PSNR alone.")
@click.option("--seed", type=int, default=1)
@click.option("--threads", type=click.IntRange(min=1), default=1, help="CPU threads for training.")
@click.option("--weights", type=click.Path(path_type=Path, file_okay=False), help="Attach these instead of training.")
@click.option("--export", type=click.Path(path_type=Path, file_okay=False), help="Also copy the trained weights here.")
@click.option("--generic-only", is_flag=True, help="Train nothing; measure the generic enhancers.")
@click.option("--plans/--no-plans", default=True, help="Make frame plans, for devices between two tiers.")
@click.option("--dry-run", is_flag=True, help="Train the lowest rung, say what it gained, change nothing.")
@click.option("--vmaf-every", type=click.IntRange(min=1), help="Score one frame in so many.  [default: as prepared]")
@click.option("--jobs", "at_once", type=click.IntRange(1), help="Titles at a time.  [default: 1; a Ray machine each]")
@click.option("--ray", metavar="ADDRESS", help="Spread over a Ray cluster: local, auto or ray://HOST:PORT.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a title.")
def train(
    titles: tuple[str, ...],
    library: Path,
    source: Path | None,
    sources: Path | None,
    seconds: float,
    steps: int | None,
    tiers: tuple[Tier, ...],
    rungs: str | None,
    detail: float,
    seed: int,
    threads: int,
    weights: Path | None,
    export: Path | None,
    generic_only: bool,
    plans: bool,
    dry_run: bool,
    vmaf_every: int | None,
    at_once: int | None,
    ray: str | None,
    as_json: bool,
) -> None:
    """Train each TITLE's own enhancers and measure what every enhancer buys.

    Networks start from the generic weights and learn what this title's low rungs have lost. Then each enhancer's
    picture is measured against the source, segment by segment, and the enhancement table is published.
    Interrupted, run the same command again: it continues.
    """
    if len(titles) > 1 and (source or weights):
        raise click.UsageError("--source and --weights belong to one title; for several, give --sources FOLDER.")
    require("Training enhancers", "train")
    from enhancers.workflows.train_job import TrainJob, source_of, train_title

    jobs_by_title = {
        title: TrainJob(
            title=title,
            library=library.absolute(),
            source=source or source_of(library, title, sources),
            seconds=seconds,
            steps=steps,
            tiers=tiers,
            rungs=rungs,
            detail=detail,
            seed=seed,
            threads=threads,
            weights=weights,
            export=export / title if export and len(titles) > 1 else export,
            generic_only=generic_only,
            plans=plans,
            dry_run=dry_run,
            vmaf_every=vmaf_every,
        )
        for title in titles
    }
    with show_progress(transient=True) as listener:
        if len(jobs_by_title) == 1:
            (job,) = jobs_by_title.values()
            done = train_title(job, partial(listener, ""))
            click.echo(json.dumps(done.as_json()) if as_json else done.as_text())
            return
        sys.exit(_train_all(list(jobs_by_title.values()), ray, at_once, listener, as_json))


def _train_all(
    jobs: list[TrainJob], ray: str | None, at_once: int | None, listener: ProgressListener, as_json: bool
) -> int:
    """Each title as it is done; returns the exit code."""
    from abr.jobs.local_pool import JobFailure
    from abr.jobs.pool import make_pool
    from enhancers.workflows.train_job import train_title

    exit_code, out = 0, sys.stdout
    pool = make_pool(ray, at_once, listener)
    for finished in pool.work(train_title, jobs):
        if isinstance(finished.outcome, JobFailure):
            click.echo(f"toprung: {finished.outcome.sentence}", err=True)
            exit_code = max(exit_code, finished.outcome.exit_code)
        else:
            result = finished.outcome
            click.echo(json.dumps(result.as_json()) if as_json else result.as_text(), file=out)
    return exit_code


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--seconds", type=FiniteRange(min=0.1), default=1.5, help="Measuring time of one arrangement.")
@click.option("--train-seconds", type=FiniteRange(min=0.5), default=10.0, help="Training of each network.")
@click.option("--tiers", is_flag=True, help="The tiers that are offered instead of the marks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_runtime(clip: Path, seconds: float, train_seconds: float, tiers: bool, as_json: bool) -> None:
    """Measure decode → enhance → frame on CLIP: frames a second, share of the machine's peak, against torch eager.

    Each network is trained on the clip for a few seconds, so that what int8 costs is measured on real weights.
    Measure on an idle machine.
    """
    require("This benchmark", "train")
    from enhancers.bench.runtime import CASES, as_record, as_text, measure_cases, tier_cases

    results = list(measure_cases(clip, tier_cases() if tiers else CASES, seconds, train_seconds))
    click.echo(json.dumps(as_record(clip, results)) if as_json else as_text(results))


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), multiple=True, help="Chunks.")
@click.option("--height", type=click.IntRange(36, 1080), default=180, help="Height of the rung.")
@click.option("--skip", type=click.IntRange(min=0), default=200, help="Frames of the clip left out: titles, black.")
@click.option("--seconds", type=FiniteRange(min=0.1), default=1.5, help="Measuring time of one arrangement.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_reuse(clip: Path, weights: tuple[Path, ...], height: int, skip: int, seconds: float, as_json: bool) -> None:
    """Measure what carrying the gain along motion saves and loses against enhancing every frame of CLIP.

    Ten seconds of one rung with a single key frame; by default with the generic weights of tier high.
    """
    require("This benchmark", "train")
    from enhancers.bench.reuse import measure_reuse

    result = measure_reuse(clip, [path.read_bytes() for path in weights], height, skip, seconds)
    click.echo(json.dumps(result.as_json()) if as_json else result.as_text())


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("title")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--source", type=click.Path(path_type=Path, dir_okay=False), help="What the title was prepared from.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default="ladder.json", help="The plan.")
@click.option("--quality", type=click.Choice([each.value for each in Currency]), default="trusted", help="What counts.")
@click.option("--json", "as_json", is_flag=True, help="Print all that was measured as one JSON object.")
def plan_ladder(title: str, library: Path, source: Path | None, output: Path, quality: str, as_json: bool) -> None:
    """Plan the ladder that pays once rungs are lifted, from a TITLE that has been trained.

    Samples are encoded at each size and several qualities, lifted and measured; the upper hull is the plan. Then:
    toprung prepare --ladder ladder.json, and toprung train.
    """
    require("Planning a ladder", "player")
    from dataclasses import asdict

    from abr.files import write_file
    from abr.records import dumps, dumps_pretty
    from enhancers.measurement.ladder_planner import plan_ladder as plan_of
    from enhancers.prepared_title import find_table, open_title

    prepared = open_title(library, title, source)
    table = find_table(prepared)
    with show_share() as progress:
        plan, trials = plan_of(prepared, table, progress, currency=Currency(quality))
    if as_json:
        tried = [asdict(trial) | {"rendition": trial.rendition.id} for trial in trials]
        click.echo(dumps({"plan": plan, "trials": tried}).decode())
    for rung in () if as_json else plan.rungs:
        reached = f"{rung.kbps:8.0f} kbit/s  quality {rung.quality:6.2f}  VMAF {rung.vmaf:6.2f}  {rung.enhancer}"
        click.echo(f"{rung.height_px:>5} lines  crf {rung.crf:<4g}{reached}")
    write_file(output, dumps_pretty(plan))
    if not as_json:
        click.echo(str(output))


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), help="Work here and keep the titles.")
@click.option("--train-seconds", type=FiniteRange(min=1), help="Training of a ladder.  [default: 9 × the clip]")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="CPU threads for training.")
@click.option("--seed", type=int, default=1)
@click.option("--tiers", type=_Tiers(), default="low,medium,high", help="Tiers to train and measure.")
@click.option("--generic-only", is_flag=True, help="Train nothing: the generic enhancers alone.")
@click.option("--no-ladder", is_flag=True, help="Leave the enhancement-aware ladder out.")
@click.option("--weights", type=click.Path(path_type=Path, file_okay=False), help="Weights of the usual ladder.")
@click.option("--curve", help="Also plot quality against these training times, such as 15,30,60,120.")
@click.option("--codec", type=click.Choice([codec.value for codec in VideoCodec]), default=VideoCodec.H264.value)
@click.option("--crf", type=FiniteRange(0, 63), help="Quality of the usual ladder.  [default: the codec's]")
@click.option("--heights", help="Rungs of the usual ladder; planned for the clip otherwise.")
@click.option("--vmaf-every", type=click.IntRange(min=1), default=13, help="Score one frame in so many.")
@click.option(
    "--panel-every", type=click.IntRange(min=1), default=1, help="Let the panel judge one segment in so many."
)
@click.option("--speed-seconds", type=FiniteRange(min=0), default=1.0, help="Measuring of a network; 0: none.")
@click.option("--rivals", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Shaders and networks.")
@click.option("--pairs", type=click.Path(path_type=Path, file_okay=False), help="Write blind pairs to be rated here.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write the rate-quality plot (SVG) here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_enhance(
    clip: Path,
    library: Path | None,
    train_seconds: float | None,
    threads: int,
    seed: int,
    tiers: tuple[Tier, ...],
    generic_only: bool,
    no_ladder: bool,
    weights: Path | None,
    curve: str | None,
    codec: str,
    crf: float | None,
    heights: str | None,
    vmaf_every: int,
    panel_every: int,
    speed_seconds: float,
    rivals: Path | None,
    pairs: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Prepare CLIP, train on it, and measure what enhancers buy: every rung, and the BD-rate of the whole ladder.

    By trusted quality and every meter of the panel, inside the picture, black frames left out; bytes of weights spread
    over ten minutes. The figure that leads is the mean over meters that the networks are not trained by. It also says
    whether CLIP was seen in the training of the generic weights. --rivals is a folder of mpv user shaders (*.glsl) and
    networks (*.onnx), which are measured on the same frames. Only h264 has an enhancement-aware ladder.
    """
    require("This benchmark", "train")
    from tempfile import TemporaryDirectory

    from abr.files import write_file
    from enhancers.bench.enhance import EnhanceBenchOptions, draw_plots, run

    options = EnhanceBenchOptions(
        train_seconds=train_seconds or 0.0,
        tiers=tiers,
        content=not generic_only,
        planned=not (no_ladder or generic_only or codec != VideoCodec.H264),
        every_frames=vmaf_every,
        panel_every=panel_every,
        speed_seconds=speed_seconds,
        prepare=("--codec", codec, *(() if crf is None else ("--crf", f"{crf:g}"))),
        usual=("--heights", heights) if heights else (),
        weights=weights,
        curve_s=_numbers(curve),
        pairs=pairs,
        rivals=rivals,
        seed=seed,
        threads=threads,
    )
    with TemporaryDirectory(prefix="toprung-bench-") as aside, show_share() as progress:
        result = run(clip, library or Path(aside), options, progress)
    click.echo(json.dumps(result.as_json()) if as_json else result.as_text())
    if pairs is not None and not pairs.exists():
        click.echo("No rung is lifted, so there are no pairs to rate.", err=True)
    if plot is not None:
        for ending, drawing in draw_plots(result).items():
            write_file(plot.with_suffix(ending), drawing.encode())


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(sorted(float(part) for part in (text or "").split(",") if part))
    except ValueError as error:
        raise click.UsageError(f"{text!r} is not a list of numbers such as 15,30,60.") from error

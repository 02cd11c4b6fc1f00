"""`toprung train`, `profile`, `plan-ladder` and benchmarks. Heavy packages are imported when a command runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.enhancement import Tier

if TYPE_CHECKING:
    from enhancers.job import Progress
    from enhancers.jobs import TrainJob

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
@click.option("--seconds", type=click.FloatRange(min=1), default=600.0, help="Training time, all rungs together.")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps instead of time: repeatable exactly.")
@click.option("--tiers", type=_Tiers(), default="low,medium,high", help="Tiers to train, measure and offer.")
@click.option("--rungs", help="Only these renditions, such as 180p,240p.")
@click.option("--detail", type=click.FloatRange(0, 1), default=0.1, help="More for VMAF, 0 for PSNR alone.")
@click.option("--seed", type=int, default=1)
@click.option("--threads", type=click.IntRange(min=1), default=1, help="CPU threads for training.")
@click.option("--weights", type=click.Path(path_type=Path, file_okay=False), help="Attach these instead of training.")
@click.option("--export", type=click.Path(path_type=Path, file_okay=False), help="Also copy the trained weights here.")
@click.option("--generic-only", is_flag=True, help="Train nothing; measure the generic enhancers.")
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
    from enhancers.jobs import TrainJob, source_of, train_title

    given = {
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
            dry_run=dry_run,
            vmaf_every=vmaf_every,
        )
        for title in titles
    }
    with progress_bar() as progress:
        if len(given) == 1:
            (job,) = given.values()
            done = train_title(job, lambda what, _total, share: progress(what, share))
            click.echo(json.dumps(done.as_json()) if as_json else done.as_text())
            return
        sys.exit(_train_all(list(given.values()), ray, at_once, progress, as_json))


def _train_all(jobs: list[TrainJob], ray: str | None, at_once: int | None, progress: Progress, as_json: bool) -> int:
    """Each title as it is done; returns the exit code."""
    from abr.crew import Failure, crew_of
    from enhancers.jobs import train_title

    exit_code, out = 0, sys.stdout
    crew = crew_of(ray, at_once, lambda job, what, _total, share: progress(f"{job}: {what}", share))
    for finished in crew.work(train_title, jobs):
        if isinstance(finished.outcome, Failure):
            click.echo(f"toprung: {finished.outcome.sentence}", err=True)
            exit_code = max(exit_code, finished.outcome.exit_code)
        else:
            told = finished.outcome
            click.echo(json.dumps(told.as_json()) if as_json else told.as_text(), file=out)
    return exit_code


@click.command(context_settings=_SHOW_DEFAULT)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.  [default: cache]")
@click.option("--quick", is_flag=True, help="Fewer runs, fastest backends only; about 20 s.")
@click.option("--force", is_flag=True, help="Measure again although a valid profile is there.")
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Measure this imported network too; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the profile itself.")
def profile(output: Path | None, quick: bool, force: bool, models: tuple[Path, ...], as_json: bool) -> None:
    """Measure how fast this device runs each enhancer: the device profile.

    Times run from decoded frame to display frame, warm, median and 95th percentile.
    """
    from abr.formats import dumps
    from enhancers.profile import as_text, profile_device, profile_networks

    with progress_bar() as progress:
        path, found = profile_device(output, quick=quick, force=force, progress=progress)
        if models:
            from enhancers.imported import read_network

            found = profile_networks(path, found, [read_network(model) for model in models], quick=quick)
    click.echo(dumps(found).decode() if as_json else f"{as_text(found)}\n{path}")


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--seconds", type=click.FloatRange(min=0.1), default=1.5, help="Measuring time of one arrangement.")
@click.option("--train-seconds", type=click.FloatRange(min=0.5), default=10.0, help="Training of each network.")
@click.option("--tiers", is_flag=True, help="The tiers that are offered instead of the marks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_runtime(clip: Path, seconds: float, train_seconds: float, tiers: bool, as_json: bool) -> None:
    """Measure decode → enhance → frame on CLIP: frames a second, share of the machine's peak, against torch eager.

    Each network is trained on the clip for a few seconds, so that what int8 costs is measured on real weights.
    Measure on an idle machine.
    """
    from enhancers.bench_runtime import CASES, as_record, as_text, measured, tier_cases

    results = list(measured(clip, tier_cases() if tiers else CASES, seconds, train_seconds))
    click.echo(json.dumps(as_record(clip, results)) if as_json else as_text(results))


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), multiple=True, help="Chunks.")
@click.option("--height", type=click.IntRange(36, 1080), default=180, help="Height of the rung.")
@click.option("--skip", type=click.IntRange(min=0), default=200, help="Frames of the clip left out: titles, black.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=1.5, help="Measuring time of one arrangement.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_reuse(clip: Path, weights: tuple[Path, ...], height: int, skip: int, seconds: float, as_json: bool) -> None:
    """Measure what carrying the gain along motion saves and loses against enhancing every frame of CLIP.

    Ten seconds of one rung with a single key frame; by default with the generic weights of tier high.
    """
    from enhancers.bench_reuse import measured

    found = measured(clip, [path.read_bytes() for path in weights], height, skip, seconds)
    click.echo(json.dumps(found.as_json()) if as_json else found.as_text())


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("title")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--source", type=click.Path(path_type=Path, dir_okay=False), help="What the title was prepared from.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default="ladder.json", help="The plan.")
@click.option("--json", "as_json", is_flag=True, help="Print all that was measured as one JSON object.")
def plan_ladder(title: str, library: Path, source: Path | None, output: Path, as_json: bool) -> None:
    """Plan the ladder that pays once rungs are lifted, from a TITLE that has been trained.

    Samples are encoded at each size and several qualities, lifted and measured; the upper hull is the plan. Then:
    toprung prepare --ladder ladder.json, and toprung train.
    """
    from dataclasses import asdict

    from abr.enhancement import ENHANCEMENTS_FILE, EnhancementTable
    from abr.formats import dumps, dumps_pretty, load, save
    from enhancers.ladder import plan_ladder as plan_of
    from enhancers.titles import open_title

    prepared = open_title(library, title, source)
    table = load(prepared.folder / ENHANCEMENTS_FILE, EnhancementTable)
    with progress_bar() as progress:
        plan, trials = plan_of(prepared, table, progress)
    if as_json:
        tried = [asdict(trial) | {"rendition": trial.rendition.id} for trial in trials]
        click.echo(dumps({"plan": plan, "trials": tried}).decode())
    for rung in () if as_json else plan.rungs:
        reached = f"{rung.kbps:8.0f} kbit/s  VMAF {rung.vmaf:6.2f}  {rung.enhancer}"
        click.echo(f"{rung.height_px:>5} lines  crf {rung.crf:<4g}{reached}")
    save(output, dumps_pretty(plan))
    if not as_json:
        click.echo(str(output))


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), help="Work here and keep the titles.")
@click.option("--train-seconds", type=click.FloatRange(min=1), help="Training of a ladder.  [default: 9 × the clip]")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="CPU threads for training.")
@click.option("--seed", type=int, default=1)
@click.option("--tiers", type=_Tiers(), default="low,medium,high", help="Tiers to train and measure.")
@click.option("--generic-only", is_flag=True, help="Train nothing: the generic enhancers alone.")
@click.option("--no-ladder", is_flag=True, help="Leave the enhancement-aware ladder out.")
@click.option("--weights", type=click.Path(path_type=Path, file_okay=False), help="Weights of the usual ladder.")
@click.option("--curve", help="Also plot quality against these training times, such as 15,30,60,120.")
@click.option("--crf", type=click.FloatRange(0, 51), default=25, help="Quality of the usual ladder.")
@click.option("--heights", help="Rungs of the usual ladder; planned for the clip otherwise.")
@click.option("--vmaf-every", type=click.IntRange(min=1), default=13, help="Score one frame in so many.")
@click.option("--speed-seconds", type=click.FloatRange(min=0), default=1.0, help="Measuring of a network; 0: none.")
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
    crf: float,
    heights: str | None,
    vmaf_every: int,
    speed_seconds: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Prepare CLIP, train on it, and measure what enhancers buy: every rung, and the BD-rate of the whole ladder.

    VMAF, VMAF-NEG, SSIM and PSNR-Y inside the picture, black frames left out; bytes of weights spread over ten minutes.
    """
    from tempfile import TemporaryDirectory

    from abr.formats import save
    from enhancers.bench_enhance import Asked, plots, run

    asked = Asked(
        train_seconds=train_seconds or 0.0,
        tiers=tiers,
        content=not generic_only,
        planned=not (no_ladder or generic_only),
        every_frames=vmaf_every,
        speed_seconds=speed_seconds,
        prepare=("--crf", f"{crf:g}"),
        usual=("--heights", heights) if heights else (),
        weights=weights,
        curve_s=_numbers(curve),
        seed=seed,
        threads=threads,
    )
    with TemporaryDirectory(prefix="toprung-bench-") as aside, progress_bar() as progress:
        found = run(clip, library or Path(aside), asked, progress)
    click.echo(json.dumps(found.as_json()) if as_json else found.as_text())
    if plot is not None:
        for ending, drawing in plots(found).items():
            save(plot.with_suffix(ending), drawing.encode())


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(sorted(float(part) for part in (text or "").split(",") if part))
    except ValueError as error:
        raise click.UsageError(f"{text!r} is not a list of numbers such as 15,30,60.") from error


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr at a terminal; silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _what, _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, object] = {}

        def tell(what: str, done: float) -> None:
            name = what.partition(" (")[0]
            if name not in tasks:
                tasks[name] = bar.add_task(what, total=1.0)
            bar.update(tasks[name], description=what, completed=done)  # type: ignore[arg-type]

        yield tell

"""Training many titles: what one of them needs, and the function that a crew runs for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from abr.crew import Tell
from abr.enhancement import Tier
from abr.errors import InputError
from abr.formats import load
from abr.media import TITLE_FILE, Title
from enhancers.job import Plan
from enhancers.titles import open_title
from enhancers.train import DETAIL_WEIGHT, Recipe
from enhancers.training import Attached, Rehearsed, attach, rehearse, selected


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """One title to be trained, as `toprung train` was told. Its paths mean the same wherever it is done."""

    title: str
    library: Path
    source: Path | None
    seconds: float
    steps: int | None
    tiers: tuple[Tier, ...]
    rungs: str | None
    detail: float
    seed: int
    threads: int
    weights: Path | None
    export: Path | None
    generic_only: bool
    dry_run: bool
    vmaf_every: int | None

    def __str__(self) -> str:
        return self.title


def source_of(library: Path, title_id: str, folder: Path | None) -> Path | None:
    """What a title was prepared from, by its name in `folder`; None when it cannot be told from there."""
    if folder is None or not (library / title_id / TITLE_FILE).is_file():
        return None  # the job will say what is missing
    source = (folder / load(library / title_id / TITLE_FILE, Title).source.name).absolute()
    if not source.is_file():
        raise InputError(f"There is no {source.name} in {folder}, which {title_id} was prepared from.")
    return source


def train_title(job: TrainJob, tell: Tell) -> Attached | Rehearsed:
    """Train, measure and attach, or rehearse. Raises as `open_title`, `attach` and `rehearse` do."""
    prepared = open_title(job.library, job.title, job.source)
    plan = Plan(
        renditions=selected(prepared, job.rungs),
        tiers=job.tiers,
        recipe=Recipe(
            steps=job.steps or 0,
            seconds=0.0 if job.steps else job.seconds,
            threads=job.threads,
            detail_weight=job.detail,
        ),
        seed=job.seed,
        made_by=_made_by(job),
    )

    def progress(what: str, done: float) -> None:
        tell(what, 1.0, done)

    if job.dry_run:
        return rehearse(prepared, plan, progress)
    return attach(
        prepared,
        plan,
        progress,
        given=job.weights,
        export=job.export,
        generic_only=job.generic_only,
        every_frames=job.vmaf_every or prepared.title.meter.every_frames,
    )


def _made_by(job: TrainJob) -> str:
    """The command, device and software that made some weights, in words; without the folders of this machine."""
    from importlib.metadata import version

    from enhancers.profile import processor_name

    length = f"--steps {job.steps}" if job.steps else f"--seconds {job.seconds:g}"
    tiers = ",".join(job.tiers)
    aim = "" if job.detail == DETAIL_WEIGHT else f" --detail {job.detail:g}"
    command = f"toprung train {job.title} {length} --tiers {tiers}{aim} --seed {job.seed} --threads {job.threads}"
    return f"{command}; {processor_name()}; torch {version('torch')}, toprung {version('toprung')}"

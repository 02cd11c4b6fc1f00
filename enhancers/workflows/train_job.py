"""Training many titles: what one of them needs, and the function that a job pool runs for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from abr.core.enhancement import Tier
from abr.core.title import TITLE_FILE, Title
from abr.errors import InputError
from abr.jobs.local_pool import Tell
from abr.records import load
from enhancers.prepared_title import open_title
from enhancers.training.title_training import TrainingPlan
from enhancers.training.title_weights import CONTENT_DETAIL_WEIGHT, CONTENT_STRUCTURE_WEIGHT
from enhancers.training.trainer import TrainingSettings
from enhancers.workflows.train_title import AttachResult, RehearsalResult, attach, rehearse, select_renditions


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """One title to be trained: the options of `toprung train`. Paths are absolute, so that any machine can run it."""

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
    plans: bool
    dry_run: bool
    vmaf_every: int | None

    def __str__(self) -> str:
        return self.title


def source_of(library: Path, title_id: str, folder: Path | None) -> Path | None:
    """What a title was prepared from, by its name in `folder`; None when `folder` or the title is missing."""
    if folder is None or not (library / title_id / TITLE_FILE).is_file():
        return None  # the job will say what is missing
    source = (folder / load(library / title_id / TITLE_FILE, Title).source.name).absolute()
    if not source.is_file():
        raise InputError(f"There is no {source.name} in {folder}, which {title_id} was prepared from.")
    return source


def train_title(job: TrainJob, tell: Tell) -> AttachResult | RehearsalResult:
    """Train, measure and attach, or rehearse. Raises as `open_title`, `attach` and `rehearse` do."""
    prepared = open_title(job.library, job.title, job.source)
    plan = TrainingPlan(
        renditions=select_renditions(prepared, job.rungs),
        tiers=job.tiers,
        recipe=TrainingSettings(
            steps=job.steps or 0,
            seconds=0.0 if job.steps else job.seconds,
            threads=job.threads,
            detail_weight=job.detail,
            structure_weight=CONTENT_STRUCTURE_WEIGHT if job.detail else 0.0,
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
        with_plans=job.plans,
    )


def _made_by(job: TrainJob) -> str:
    """The command, device and software that made some weights, in words; without the folders of this machine."""
    from importlib.metadata import version

    from enhancers.profiling.machine import processor_name

    length = f"--steps {job.steps}" if job.steps else f"--seconds {job.seconds:g}"
    tiers = ",".join(job.tiers)
    aim = "" if job.detail == CONTENT_DETAIL_WEIGHT else f" --detail {job.detail:g}"
    command = f"toprung train {job.title} {length} --tiers {tiers}{aim} --seed {job.seed} --threads {job.threads}"
    return f"{command}; {processor_name()}; torch {version('torch')}, toprung {version('toprung')}"

"""Segments that are lifted one after the other, wherever that is: as a job of a pool, on this machine or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from abr.errors import ToprungError
from abr.jobs.local_pool import Tell
from client_player.edge.lifts.lifting import LiftedSegment, Lifter, LiftJob

RUN_MAX = 16
"""Segments of a run: opening an enhancer takes as long as lifting one or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftRun:
    """Some segments of one title. It can be pickled, and brings all that it needs."""

    title: str
    jobs: Sequence[LiftJob] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.title}, segments {self.jobs[0].segment} to {self.jobs[-1].segment}"


def lift_run(run: LiftRun, tell: Tell) -> tuple[LiftedSegment | str, ...]:
    """Each lifted segment, or why it cannot be lifted."""
    lifter, done = Lifter(), list[LiftedSegment | str]()
    for job in run.jobs:
        try:
            done.append(lifter.lift(job))
        except ToprungError as error:
            done.append(str(error))
        tell("lifting", len(run.jobs), len(done))
    return tuple(done)


def runs_of(title: str, jobs: Sequence[LiftJob]) -> list[LiftRun]:
    """The jobs in runs of RUN_MAX."""
    return [LiftRun(title=title, jobs=jobs[at : at + RUN_MAX]) for at in range(0, len(jobs), RUN_MAX)]

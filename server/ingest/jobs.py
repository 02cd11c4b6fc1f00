"""Preparing many sources: what one of them needs, and the function that a crew runs for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from abr.crew import Tell
from abr.errors import InputError
from server.ingest.prepare import Prepared, identifier_of, prepare_title
from server.ingest.progress import told
from server.ingest.recipe import Recipe
from server.library import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One source on its way into a library. Its paths mean the same wherever it is done."""

    source: Path
    library: Path
    recipe: Recipe
    title_id: str | None = None
    force: bool = False

    def __str__(self) -> str:
        return self.source.name


def prepare_job(job: Job, tell: Tell) -> Prepared:
    """Raises as `prepare_title` does."""
    return prepare_title(
        job.source, Library(job.library), job.recipe, title_id=job.title_id, force=job.force, bars=told(tell)
    )


def check_apart(sources: Iterable[Path]) -> None:
    """InputError when two of the sources would become the same title."""
    named: dict[str, Path] = {}
    for source in sources:
        other = named.setdefault(identifier_of(source), source)
        if other is not source:
            raise InputError(
                f"{other} and {source} would both become the title {identifier_of(source)!r}; "
                "prepare them one by one, with --id."
            )

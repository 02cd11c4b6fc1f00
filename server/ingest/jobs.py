"""Preparing many sources: what one of them needs, and the function that a job pool runs for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from abr.jobs.local_pool import Tell
from abr.progress import bars_reporting_to
from server.ingest.encode_settings import EncodeSettings
from server.ingest.identifiers import readable_name
from server.ingest.prepare import Prepared, prepare_title
from server.media.library import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareJob:
    """One source on its way into a library. Paths are absolute, so that any machine can run it."""

    source: Path
    library: Path
    recipe: EncodeSettings
    title_id: str | None = None
    force: bool = False
    accept_short: bool = False
    no_enhancement: bool = False

    def __str__(self) -> str:
        return readable_name(self.source)


def prepare_job(job: PrepareJob, tell: Tell) -> Prepared:
    """Raises as `prepare_title` does."""
    return prepare_title(
        job.source,
        Library(job.library),
        job.recipe,
        title_id=job.title_id,
        force=job.force,
        accept_short=job.accept_short,
        no_enhancement=job.no_enhancement,
        bars=bars_reporting_to(tell),
    )

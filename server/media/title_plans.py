"""The plans that lie with a title: used when they were made from the title and the enhancers as they are now."""

from __future__ import annotations

import logging
from pathlib import Path

from abr.controllers.toprung.plan_file import PlanFile
from abr.controllers.toprung.title_plans import digest_of, plans_files
from abr.core.enhancement import EnhancementTable
from abr.core.title import Title
from abr.errors import FormatError, StorageError

log = logging.getLogger("toprung.plans")


def read_plans(folder: Path, title: Title, table: EnhancementTable | None) -> list[PlanFile]:
    """Of each ladder that has them. Those that are of no use are left out, which is said in the log."""
    found = (_read(folder / name, of_ladder, table) for name, of_ladder in plans_files(title).items())
    return [plans for plans in found if plans is not None]


def _read(path: Path, title: Title, table: EnhancementTable | None) -> PlanFile | None:
    if not path.is_file():
        return None
    try:
        found = PlanFile(path)
    except (FormatError, StorageError) as error:
        log.warning("%s Its plans are made anew, when they are needed.", error)
        return None
    if found.header.made_from != digest_of(title, table):
        log.warning("Title %s has changed since its plans were made; they are not used.", title.id)
        return None
    return found

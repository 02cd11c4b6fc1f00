"""Whether a title's pictures may be enhanced: what its makers say, in `title.json`, when it is prepared or later."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from abr.controllers.toprung.title_plans import write_plans
from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.core.title import TITLE_FILE, Title
from abr.errors import StorageError, ToprungError
from abr.files import fsync_path, write_atomically
from abr.records import dumps_pretty
from server.ingest.manifests.title import ladder_manifests
from server.media.library import Library

PUT_ASIDE_FILE = f".{ENHANCEMENTS_FILE}"
"""Where the table of a title that may not be enhanced waits: names that begin with a dot are never served."""


def permit_enhancement(library: Library, title_id: str, permitted: bool) -> Title:
    """Say whether a title may be enhanced, without preparing it anew; returns the title as it is now.

    The table of its enhancers is put aside, or back. Raises UnknownNameError, FormatError, StorageError;
    InputError for a protected title, which cannot be.
    """
    folder, title = library.folder(title_id), library.title(title_id)
    if permitted and title.protection:
        title.check_enhancement()
    table, aside = folder / ENHANCEMENTS_FILE, folder / PUT_ASIDE_FILE
    changed = msgspec.structs.replace(title, no_enhancement=UNSET if permitted else True)
    try:
        if permitted:
            write_atomically(folder / TITLE_FILE, dumps_pretty(changed))
            if aside.is_file() and not table.exists():
                aside.rename(table)
        else:
            if table.is_file():
                table.replace(aside)
            write_atomically(folder / TITLE_FILE, dumps_pretty(changed))
        for name, body in ladder_manifests(changed).items():
            write_atomically(folder / name, body)
        write_plans(folder, changed, library.enhancements(title_id))
        fsync_path(folder)
    except OSError as error:
        raise StorageError(f"Cannot change {title_id}: {error.strerror}.") from error
    return changed


def forbids_enhancement(library: Library, title_id: str) -> bool:
    """Whether a title is there and may not be enhanced; False for one that cannot be read."""
    try:
        return library.has_title(title_id) and bool(library.title(title_id).no_enhancement)
    except ToprungError:
        return False

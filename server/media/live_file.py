"""Files of live titles as HTTP sends them, and one clear sentence for what is not there, or not any more."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from abr.core.live.tables import TABLES_FILE
from abr.errors import FormatError, StorageError, UnknownNameError
from server.errors import RequestError
from server.media.kept_versions import kept_folder
from server.media.library import Library, path_in
from server.media.live_title import LIVE_MANIFEST, WHOLE_FOLDER, LiveTitle, load_live
from server.media.media_file import BRIEF, IMMUTABLE, MediaFile, find_media_file, lead
from server.media.versions import is_lasting, is_of_session, leads_to_version

_SEGMENT = re.compile(r"(?:video|audio)/[^/]+/seg-([0-9]{5,8})\.m4s")


def find_live_file(library: Library, title_id: str, relative: str, version: str, now_s: float) -> MediaFile | None:
    """A file of a live title; None when there is no live title of that id and version.

    A version that has become an ordinary title stays for a while, for those who watch it. Blocks. Raises RequestError:
    404 for what is not there, 410 for a segment that has left the window.
    """
    try:
        folder = library.live_folder(title_id, version)
        live = None if folder is None else load_live(folder)
    except (FormatError, StorageError):  # it is being replaced
        return None
    if folder is None or live is None:
        if version and library.has_live(title_id):
            raise RequestError(410, f"The live stream {title_id!r} began anew; open its manifest again.")
        return None
    try:
        return _file(library, folder, live, relative, version)
    except (UnknownNameError, OSError) as error:
        raise _absent(live, relative, now_s) from error


def _file(library: Library, folder: Path, live: LiveTitle, relative: str, version: str) -> MediaFile:
    is_manifest = leads_to_version(relative)
    is_whole = relative.startswith(f"{WHOLE_FOLDER}/")
    changes = is_manifest or is_whole or is_of_session(relative) or relative == TABLES_FILE
    cache_control = LIVE_MANIFEST if changes and live.is_open else BRIEF
    if is_lasting(relative, version):
        cache_control = IMMUTABLE
    below = str(folder.relative_to(library.root))
    file = find_media_file(path_in(folder, relative), below, relative, cache_control)
    if version:
        return replace(file, moved=kept_folder(library.root, live.id, live.version) / relative)
    return lead(file, live.version) if is_manifest else file


def _absent(live: LiveTitle, relative: str, now_s: float) -> RequestError:
    """What to say of a file that a live title has not got."""
    segment = _SEGMENT.fullmatch(relative)
    if live.state != "waiting" and segment is not None:
        number, first = int(segment[1]), live.first_segment + 1
        if 1 <= number < first:
            return RequestError(410, f"Segment {number} of {live.id!r} has left the window, which begins with {first}.")
        last = first + live.segments - 1
        again = {"Retry-After": str(max(1, round(live.segment_s)))} if live.is_open else {}
        return RequestError(404, f"Segment {number} of {live.id!r} is not there; the newest one is {last}.", again)
    if live.state == "waiting":
        return RequestError(404, f"{live.describe(now_s)} Try again soon.", {"Retry-After": "2"})
    return RequestError(404, f"There is no file {relative[:200]!r} in the live title {live.id!r}.")


class IsLiveError(RequestError):
    """A title is a live one, where a prepared one is needed."""


def refuse_live(library: Library, title_id: str, now_s: float, version: str = "") -> None:
    """Raises IsLiveError for a live title, or one that was live in that version. Blocks."""
    with suppress(FormatError, StorageError):
        if (folder := library.live_folder(title_id, version)) is not None:
            raise IsLiveError(409, f"{load_live(folder).describe(now_s)} It is no prepared title.")

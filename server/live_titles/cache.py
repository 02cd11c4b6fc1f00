"""Live titles as the server sees them: read from the library, and believed for a moment."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.errors import FormatError, StorageError
from abr.records import load
from server.clock import Clock
from server.concurrency.shared_call import SharedCalls
from server.errors import DamagedTitleError, RequestError
from server.live_titles.outlook import Outlook, outlook_of
from server.lru_cache import LruCache
from server.media.library import Library
from server.media.live_title import load_live

FRESH_S = 0.25
"""What the disk said is believed for this long."""
SOONEST_S = 0.02
"""For who asks for a segment that is not there yet, for this long."""
TITLES_BYTES_MAX = 64 << 20
TITLE_BYTES = 16 << 10
"""About what a title takes beside the sizes of its segments."""
SIZE_BYTES = 48
"""About what each of these takes, as it was read and as a number of a table."""
LOADS_AT_ONCE = 4

_Status = tuple[int, int, int]


class LiveTitles:
    """The live titles of a library."""

    def __init__(self, library: Library, clock: Clock) -> None:
        self._library, self._clock = library, clock
        self._known: LruCache[tuple[str, str], tuple[float, _Status, Outlook]] = LruCache(TITLES_BYTES_MAX)
        self._loads: SharedCalls[tuple[_Status, Outlook]] = SharedCalls(LOADS_AT_ONCE)

    async def outlook(self, title_id: str, version: str, segment: int = -1, *, since_s: float | None = None) -> Outlook:
        """A live title as it is now: of that version, or of whichever there is (empty).

        segment: 0-based, the one that is wanted of it; what was read before it was there is not believed, nor what was
        read at since_s or before. Raises RequestError: 404 where there is none, or it has not begun, 410 when that
        version is gone.
        """
        key = title_id, version
        known = self._known.get(key)
        if known is not None:
            tables = known[2].tables
            patience_s = SOONEST_S if segment >= tables.end and tables.state == "running" else FRESH_S
            if abs(self._clock() - known[0]) < patience_s and (since_s is None or known[0] > since_s):
                return known[2]
        _, outlook = await self._loads.run(
            key, self._load, title_id, version, known[1:] if known else None, keep=partial(self._keep, key)
        )
        return outlook

    def _keep(self, key: tuple[str, str], loaded: tuple[_Status, Outlook]) -> None:
        self._known.put(key, (self._clock(), *loaded), TITLE_BYTES + SIZE_BYTES * loaded[1].sizes.size)

    def _load(self, title_id: str, version: str, known: tuple[_Status, Outlook] | None) -> tuple[_Status, Outlook]:
        try:
            folder = self._library.live_folder(title_id, version)
            if folder is None:
                raise _gone(self._library, title_id, version)
            path = folder / TABLES_FILE
            status = _status_of(path)
            if known is not None and known[0] == status:
                return known
            tables = load(path, LiveTables)
            tables.check(str(path))
        except FileNotFoundError as error:
            raise _not_begun(self._library.root / title_id, self._clock()) from error
        except (FormatError, StorageError, OSError) as error:
            raise DamagedTitleError(title_id) from error
        return status, outlook_of(tables, known[1] if known else None)


def absence(outlook: Outlook, segment: int, *, may_grow: bool = False) -> RequestError | None:
    """What to say when a segment is asked for that is not there; None when it is.

    may_grow: one that is under way is there; so is the next one, since what was read last may be a moment old.
    """
    tables, number = outlook.tables, segment + 1
    name = repr(tables.typical.id)
    if segment < tables.first_stored:
        first = tables.first_listed + 1
        return RequestError(410, f"Segment {number} of {name} has left the window, which begins with {first}.")
    if segment < tables.end or (may_grow and tables.grows and segment <= tables.end + 1):
        return None
    if tables.state == "ended":
        return RequestError(404, f"Segment {number} of {name} is not there; the stream has ended with {tables.end}.")
    detail = f"Segment {number} of {name} is not there yet; the newest one is {tables.end}."
    return RequestError(404, detail, {"Retry-After": str(max(1, round(tables.segment_s)))})


def _status_of(path: Path) -> _Status:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _gone(library: Library, title_id: str, version: str) -> RequestError:
    shown = repr(title_id[:64])
    if library.has_live(title_id):
        return RequestError(410, f"The live stream {shown} began anew; open a new session.")
    if version and library.has_title(title_id):
        return RequestError(410, f"The live stream {shown} is over, and is a title now; open a new session.")
    return RequestError(404, f"There is no title named {shown}; GET /titles lists what there is.")


def _not_begun(folder: Path, now_s: float) -> RequestError:
    """There is a live title, but no tables."""
    try:
        live = load_live(folder)
    except (FormatError, StorageError):
        return RequestError(503, "The live stream is being replaced; try again.", {"Retry-After": "1"})
    if live.state == "waiting":
        return RequestError(404, f"{live.describe(now_s)} Try again soon.", {"Retry-After": "2"})
    said = f"{live.describe(now_s)} It has no tables to decide by"
    return RequestError(409, f"{said}: play /titles/{live.id}/manifest.mpd or master.m3u8.")

"""A session's folder read back: what `toprung report` makes a page from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.events import AnyEvent, Decided, Started, loads_log
from abr.core.title import TITLE_FILE, Quality, Title
from abr.errors import InputError, StorageError
from abr.opinions.fitted import FittedQoe
from abr.opinions.scales import CountedQuality
from abr.records import load, loads
from abr.simulation.trace_formats import read_trace
from abr.virtual_time import SessionClock
from client_player.session.report import ReportData
from client_player.session.summary import Summary, summarise
from client_player.source.codec_choice import ladder_with
from client_player.transport.http import DOCUMENT_MAX_BYTES, HttpTransport, get_with_retries, http_pool

T = TypeVar("T")

LOG_FILE, SUMMARY_FILE, SEEN_FILE, TRACE_FILE = "session.jsonl", "summary.json", "seen.json", "trace.json"
_LOG_MAX_BYTES = 256 << 20


def open_archive(
    log: Path, *, library: Path | None, title_url: str, trace: Path | None, qoe: FittedQoe | None = None
) -> ReportData:
    """A log with what lies beside it. Title and table come from the library or the URL if one is given.

    qoe: learnt from people, in whose points decisions counted quality.

    Raises InputError, FormatError, StorageError.
    """
    events = read_log(log)
    title, table = _load_title(log.parent, events, library, title_url)
    watched = next((event.rendition for event in events if isinstance(event, Decided)), "")
    title = ladder_with(title, watched)
    seen = _load_if_there(log.parent / SEEN_FILE, Quality)
    trace_file = log.parent / TRACE_FILE
    earlier_summary = _load_if_there(log.parent / SUMMARY_FILE, Summary)
    return ReportData(
        events=events,
        title=title,
        summary=summarise(
            events,
            title,
            seen,
            earlier_summary.sound_apart_ms / 1000 if earlier_summary else 0.0,
            CountedQuality(qoe=qoe).scale(title),
        ),
        table=table,
        seen=seen,
        trace=read_trace(trace or trace_file) if trace or trace_file.is_file() else None,
        pair_folder=log.parent,
    )


def read_log(path: Path) -> list[AnyEvent]:
    """Raises StorageError, FormatError, and InputError when nothing happened in it."""
    try:
        if path.stat().st_size > _LOG_MAX_BYTES:
            raise InputError(f"{path} is larger than {_LOG_MAX_BYTES >> 20} MiB: that is no session log.")
        events = loads_log(path.read_bytes())
    except OSError as error:
        raise StorageError(f"Cannot read the session log {path}: {error.strerror}.") from error
    if not events:
        raise InputError(f"{path} holds no events; give the session.jsonl that `toprung play --out` wrote.")
    return events


def _load_title(
    folder: Path, events: list[AnyEvent], library: Path | None, title_url: str
) -> tuple[Title, EnhancementTable | None]:
    if title_url:
        return asyncio.run(_fetch_title(title_url if title_url.endswith("/") else title_url + "/"))
    if library is not None:
        folder = library / next((event.title for event in events if isinstance(event, Started)), "")
    if not (folder / TITLE_FILE).is_file():
        raise InputError(f"There is no {TITLE_FILE} in {folder}; say where the title is with --library or --title-url.")
    return load(folder / TITLE_FILE, Title), _load_if_there(folder / ENHANCEMENTS_FILE, EnhancementTable)


async def _fetch_title(url: str) -> tuple[Title, EnhancementTable | None]:
    async with http_pool() as pool:
        transport = HttpTransport(pool, SessionClock())
        title = await get_with_retries(transport, url + TITLE_FILE, max_bytes=DOCUMENT_MAX_BYTES)
    return loads(title.body, Title, what=title.url), None


def _load_if_there(path: Path, kind: type[T]) -> T | None:
    return load(path, kind) if path.is_file() else None

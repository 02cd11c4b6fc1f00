"""What a session leaves in its folder: written as it becomes known, and never mixed with an earlier session's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.title import TITLE_FILE, Title
from abr.errors import StorageError
from abr.records import dumps
from abr.simulation.trace_formats import dumps_sabre
from abr.simulation.traces import Trace
from client_player.playback.before_after import AFTER_FILE, BEFORE_FILE, PAIR_FILE
from client_player.session.archive import LOG_FILE, SEEN_FILE, SUMMARY_FILE, TRACE_FILE
from client_player.session.report import REPORT_FILE

_OUR_FILES = (
    *(LOG_FILE, SUMMARY_FILE, SEEN_FILE, TRACE_FILE, TITLE_FILE, ENHANCEMENTS_FILE, REPORT_FILE),
    *(PAIR_FILE, BEFORE_FILE, AFTER_FILE),
)


def clear_session_files(folder: Path) -> None:
    """Take away what an earlier session left, so that nothing of it ends up in this one's report."""
    try:
        for name in _OUR_FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot clear {folder}: {error.strerror}.") from error


def dump_title_files(title: Title, table: EnhancementTable | None, trace: Trace | None) -> dict[str, bytes]:
    """What a report needs besides the log."""
    files = {TITLE_FILE: dumps(title)}
    files |= {ENHANCEMENTS_FILE: dumps(table)} if table else {}
    return files | ({TRACE_FILE: dumps_sabre(trace).encode()} if trace else {})


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Raises StorageError."""
    try:
        for name, body in files.items():
            (folder / name).write_bytes(body)
    except OSError as error:
        raise StorageError(f"Cannot write to {folder}: {error.strerror}.") from error

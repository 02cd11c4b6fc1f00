"""Versions of titles that a newer one has replaced: kept for a while, for viewers who began with them.

They lie in the library as `.replaced-<id>-<version>`, and are never listed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from abr.files import folder_bytes
from server.concurrency.background import in_background

KEPT_S = 86_400.0
"""No viewer is taken to watch a version for longer than this after it was replaced."""
KEPT_BYTES_MAX = 16 << 30
"""Of all kept versions of a library together; those replaced first go first."""
_LOOK_EVERY_S = 3600.0
_KEPT = re.compile(r"\.replaced-[A-Za-z0-9][A-Za-z0-9._-]{0,63}-[0-9a-f]{16}")


def kept_folder(root: Path, title_id: str, version: str) -> Path:
    """Where a version lies once it has been replaced."""
    return root / f".replaced-{title_id}-{version}"


def kept_folders(root: Path, title_id: str) -> list[Path]:
    """The kept versions of one title."""
    return [folder for folder in _all_kept(root) if folder.name.rpartition("-")[0] == f".replaced-{title_id}"]


def note_replaced(folder: Path) -> None:
    """From now on it is kept for KEPT_S. Raises OSError."""
    os.utime(folder)


def drop_outlived(root: Path) -> None:
    """Remove the versions that have been kept for long enough, and the oldest of those that take too much room.

    A library that cannot be written is left as it is.
    """
    kept_bytes = 0
    for replaced_s, folder in sorted(((_replaced_s(folder), folder) for folder in _all_kept(root)), reverse=True):
        kept_bytes += folder_bytes(folder)
        if time.time() - replaced_s > KEPT_S or kept_bytes > KEPT_BYTES_MAX:
            drop(folder)


@asynccontextmanager
async def dropping_outlived(root: Path) -> AsyncIterator[None]:
    """The same before the block begins, and now and then until it ends."""
    await asyncio.to_thread(drop_outlived, root)
    async with in_background(_drop_now_and_then(root)):
        yield


async def _drop_now_and_then(root: Path) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.to_thread(drop_outlived, root)


def drop(folder: Path) -> None:
    """Remove one version: gone at once, so that nobody finds half of it. A disk that refuses is left alone."""
    doomed = folder.with_name(f".removed-{folder.name[1:]}")
    with suppress(OSError):
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _all_kept(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [Path(entry.path) for entry in entries if _KEPT.fullmatch(entry.name)]
    except OSError:
        return []


def _replaced_s(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0

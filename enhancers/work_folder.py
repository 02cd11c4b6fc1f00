"""The folder of unfinished training work: its files are named by a key of their inputs, and one process holds it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abr.errors import StorageError
from abr.files import lock_folder
from enhancers.prepared_title import PreparedTitle

_KEY_DIGITS = 16


@contextmanager
def hold_work_folder(prepared: PreparedTitle) -> Iterator[Path]:
    """Hold the folder of a title's unfinished work. It is removed unless the block ends with an error.

    Raises InputError while another process works on the title, and StorageError when the disk refuses.
    """
    folder = prepared.folder.parent / f".training-{prepared.folder.name}"
    busy = f"Another toprung train works on {prepared.title.id}: wait for it to end."
    try:
        with lock_folder(folder, busy=busy):
            yield folder
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageError(f"Cannot keep work in {folder}: {error.strerror}.") from error


def key_of(*parts: object) -> str:
    """16 hex digits of the sha256 of `repr(parts)`: equal inputs find unfinished work again."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:_KEY_DIGITS]


def title_key(prepared: PreparedTitle) -> str:
    """A key of this encoding of this source."""
    title = prepared.title
    return key_of(title.source.sha256, [(r.id, r.width_px, r.segment_bytes) for r in title.renditions])

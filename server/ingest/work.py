"""Work in progress: which phases of a title are done, kept beside the growing title so that a later run continues.

`.building-<id>/title/` grows into the title folder; `.building-<id>/<phase>.json` holds what a finished phase found
and is written after everything that phase made is on the disk. Nothing in there is ever listed as a title.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from abr.errors import FormatError, InputError, StorageError
from abr.formats import Record, dumps_pretty, load
from server.library import fsync_tree

T = TypeVar("T")

_FINGERPRINT = "fingerprint"


class Fingerprint(Record, frozen=True):
    """What the work belongs to; any difference starts it anew."""

    source_sha256: str
    recipe: str


class Work:
    """The phases of one title. Use as a context manager: it keeps other runs out of the same title.

    Raises InputError when another run is at it and StorageError when the disk refuses.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint) -> None:
        self.folder = folder
        self.title = folder / "title"
        self._fingerprint = fingerprint
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Work:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another run is preparing this title in {self.folder}; wait for it or stop it."
            ) from error
        except OSError as error:
            raise StorageError(f"Cannot build in {self.folder}: {error.strerror}.") from error
        # Without the growing title its records are worth nothing: it was published and the run ended right there.
        if self._read(_FINGERPRINT, Fingerprint) != self._fingerprint or not self.title.is_dir():
            self._clear()
            self.fresh()
            self._save(_FINGERPRINT, self._fingerprint)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock:
            self._lock.close()

    def once(self, phase: str, kind: type[T], make: Callable[[], T]) -> T:
        """What `phase` found: read back when it is done already, made and recorded otherwise."""
        found = self._read(phase, kind)
        if found is None:
            found = make()
            self._save(phase, found)
        return found

    def fresh(self, part: str = "") -> Path:
        """An empty folder of the growing title, or all of it, free of what an interrupted run may have left."""
        folder = self.title / part
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        except OSError as error:
            raise StorageError(f"Cannot make {folder}: {error.strerror}.") from error
        return folder

    def discard(self) -> None:
        """Remove the work once its title is published."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, phase: str, kind: type[T]) -> T | None:
        path = self.folder / f"{phase}.json"
        try:
            return load(path, kind) if path.is_file() else None
        except FormatError:  # written by another version of Toprung: do the phase again
            return None

    def _save(self, phase: str, found: object) -> None:
        path = self.folder / f"{phase}.json"
        try:
            if self.title.is_dir():
                fsync_tree(self.title)
            with path.with_suffix(".part").open("wb") as file:
                file.write(dumps_pretty(found))
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".part").rename(path)
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror}; free some space and run again.") from error

    def _clear(self) -> None:
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != "lock":
                entry.unlink()

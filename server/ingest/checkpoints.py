"""Checkpoints: which phases of preparing a title are done, kept beside the unfinished title for a later run.

`.building-<id>/title/` becomes the title folder. `.building-<id>/<phase>.json` holds the result of a finished phase
and is written after everything that phase made is on the disk. Nothing in there is ever listed as a title.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from abr.errors import FormatError, StorageError
from abr.files import fsync_tree, lock_folder, write_atomically
from abr.records import Record, dumps_pretty, load

T = TypeVar("T")

_FINGERPRINT = "fingerprint"


class Fingerprint(Record, frozen=True):
    """The source and settings that the checkpoints belong to. Any difference discards them."""

    source_sha256: str
    recipe: str


class Checkpoints:
    """The phases of one title. Use as a context manager: it keeps other runs out of the same title.

    Raises InputError when another run is at it and StorageError when the disk refuses.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint, busy: str = "") -> None:
        """busy: what to say when another run is at it, instead of the usual sentence."""
        self.folder = folder
        self.title = folder / "title"
        self._fingerprint = fingerprint
        self._busy = busy or f"Another run is preparing this title in {folder}; wait for it or stop it."
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Checkpoints:
        self._lock = lock_folder(self.folder, busy=self._busy)
        # Without the unfinished title its records are useless: it was published and the run ended right there.
        if self._read(_FINGERPRINT, Fingerprint) != self._fingerprint or not self.title.is_dir():
            self._clear()
            self.empty_folder()
            self._save(_FINGERPRINT, self._fingerprint)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock:
            self._lock.close()

    def run_once(self, phase: str, kind: type[T], make: Callable[[], T]) -> T:
        """The result of `phase`: read back when an earlier run recorded it, made and recorded otherwise."""
        result = self._read(phase, kind)
        if result is None:
            result = make()
            self._save(phase, result)
        return result

    def empty_folder(self, part: str = "") -> Path:
        """Make an empty folder in the unfinished title, or empty all of it: an interrupted run may have left files."""
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

    def _save(self, phase: str, result: object) -> None:
        path = self.folder / f"{phase}.json"
        try:
            if self.title.is_dir():
                fsync_tree(self.title)
        except OSError as error:
            raise StorageError(
                f"Cannot write {self.title}: {error.strerror}; free some space and run again."
            ) from error
        write_atomically(path, dumps_pretty(result))

    def _clear(self) -> None:
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != "lock":
                entry.unlink()

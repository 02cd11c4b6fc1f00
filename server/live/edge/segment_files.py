"""The files of a live title on the disk: each appears whole, and segments grow aside until they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from abr.core.title import segment_file
from abr.errors import StorageError
from abr.files import write_atomically
from server.live_edge.growing import growing_file


class SegmentFiles:
    """Below `folder`, and all media once more below `kept`, if that is given. Methods raise StorageError."""

    def __init__(self, folder: Path, parts: Sequence[str], kept: Path | None) -> None:
        """parts: the folders of all renditions and of the sound."""
        self._folder, self._parts, self._kept = folder, parts, kept
        self.removed = 0
        """The first segment that has not been removed yet."""

    def grow(self, relative: str, chunk: bytes) -> None:
        """A segment that is under way has one more chunk."""
        path = growing_file(self._folder / relative)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(chunk)
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror}; free some space.") from error

    def store(self, relative: str, data: bytes) -> None:
        """A file is whole: what there is of it under way has grown to this."""
        path = self._folder / relative
        growing = growing_file(path)
        if growing.exists():
            self._rename(growing, path)
        else:
            write_atomically(path, data, durable=False)
        if self._kept is not None:
            self._store_twin(path, self._kept / relative, data)

    def remove_until(self, segment: int) -> None:
        """Remove all segments before that one."""
        while self.removed < segment:
            for part in self._parts:
                try:
                    (self._folder / part / segment_file(self.removed)).unlink(missing_ok=True)
                except OSError as error:
                    raise StorageError(f"Cannot remove from {self._folder}: {error.strerror}.") from error
            self.removed += 1

    def _rename(self, growing: Path, path: Path) -> None:
        try:
            growing.replace(path)
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror}.") from error

    def _store_twin(self, path: Path, twin: Path, data: bytes) -> None:
        try:
            twin.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(path, twin)
        except OSError:  # a file system without hard links
            write_atomically(twin, data, durable=False)

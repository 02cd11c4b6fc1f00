"""The library: a folder of title folders. A title is listed when it is complete and not before.

A title is built in `.building-<id>/` beside the others and published by one rename; dot-names are never listed or
served.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath

from abr.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.errors import StorageError, UnknownNameError
from abr.formats import load
from abr.media import TITLE_FILE, Title

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Library:
    """Reads and publishes titles under `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def titles(self) -> list[str]:
        """Ids of all complete titles, sorted. StorageError when the folder is there but cannot be read."""
        try:
            return sorted(entry.name for entry in self.root.iterdir() if self._is_title(entry))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"Cannot list the library {self.root}: {error.strerror}.") from error

    def title(self, title_id: str) -> Title:
        """Raises UnknownNameError when there is no such title, FormatError when its title.json is not valid."""
        return load(self._folder(title_id) / TITLE_FILE, Title)

    def enhancements(self, title_id: str) -> EnhancementTable | None:
        """The title's enhancement table, or None while it has none. Raises as `title` does."""
        path = self._folder(title_id) / ENHANCEMENTS_FILE
        return load(path, EnhancementTable) if path.is_file() else None

    def path(self, title_id: str, relative: str) -> Path:
        """The real path of one regular file of a title; UnknownNameError for everything else.

        `relative` is hostile: absolute paths, `..`, dot-names, NUL and symbolic links that lead out are all unknown.
        """
        folder = self._folder(title_id).resolve()
        parts = PurePosixPath(relative).parts
        if not parts or any(part == "/" or part.startswith(".") or "\0" in part or "\\" in part for part in parts):
            raise UnknownNameError("file", relative, ())
        try:
            path = folder.joinpath(*parts).resolve()
            found = path.is_relative_to(folder) and path.is_file()
        except (OSError, RuntimeError) as error:  # a name too long, a loop of links
            raise UnknownNameError("file", relative, ()) from error
        if not found:
            raise UnknownNameError("file", relative, ())
        return path

    def building(self, title_id: str) -> Path:
        """Where a title is being built: on the same file system as where it will stand."""
        return self.root / f".building-{title_id}"

    def publish(self, title_id: str, built: Path) -> Path:
        """Move the complete folder `built` to its place, replacing an older title of that id.

        Everything is on the disk before the rename makes it visible. Between the two renames of a replacement the
        title is absent, never half there. Raises StorageError.
        """
        target = self.root / title_id
        replaced = self.root / f".replaced-{title_id}"
        try:
            fsync_tree(built)
            shutil.rmtree(replaced, ignore_errors=True)
            if target.exists():
                target.rename(replaced)
            try:
                built.rename(target)
            except OSError:
                if replaced.exists():
                    replaced.rename(target)
                raise
            _fsync(self.root)
            shutil.rmtree(replaced, ignore_errors=True)
        except OSError as error:
            raise StorageError(f"Cannot publish {target}: {error.strerror}.") from error
        return target

    def _folder(self, title_id: str) -> Path:
        if not IDENTIFIER.fullmatch(title_id) or not self._is_title(self.root / title_id):
            raise UnknownNameError("title", title_id, self.titles())
        return self.root / title_id

    def _is_title(self, folder: Path) -> bool:
        return bool(IDENTIFIER.fullmatch(folder.name)) and not folder.is_symlink() and (folder / TITLE_FILE).is_file()


def fsync_tree(folder: Path) -> None:
    """Force every file and folder below `folder`, and itself, to the disk. Raises OSError."""
    _fsync(folder)
    for parent, _, files in os.walk(folder):
        for name in files:
            _fsync(Path(parent) / name)
        _fsync(Path(parent))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

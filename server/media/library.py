"""The library: a folder of title folders. A title is listed when it is complete and not before.

A title is built in `.building-<id>/` beside the others and published by one rename; dot-names are never listed or
served.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.pricing import TitleOptions
from abr.core.title import TITLE_FILE, Title
from abr.errors import InputError, StorageError, ToprungError, UnknownNameError
from abr.files import fsync_path, fsync_tree
from abr.media.ladders import in_codec
from abr.opinions.scales import CountedQuality
from abr.records import load
from server.media.kept_versions import drop, drop_outlived, kept_folder, note_replaced
from server.media.live_title import LIVE_FILE, load_live
from server.media.versions import ladder_file

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTitle:
    """A title with its enhancement table; `revision` changes whenever either file or the folder does."""

    title: Title
    stored_id: str
    """The title's name when it was prepared: another one where its folder was renamed by hand."""
    table: EnhancementTable | None
    revision: str
    folder: int
    """The folder's number in its file system, which goes with it when it is renamed."""

    kept: str
    """Its version when a newer one has replaced it, else nothing."""
    memory_bytes: int
    """About what it takes."""
    _options: dict[tuple[str, CountedQuality], TitleOptions] = field(default_factory=dict)
    _in_codec: dict[str, Title] = field(default_factory=dict)

    def in_codec(self, codec: str) -> Title:
        """The title as sessions of that codec see it (`abr.media.ladders`); made once."""
        known = self._in_codec.get(codec)
        return known or self._in_codec.setdefault(codec, in_codec(self.title, codec))

    def file_of(self, relative: str, codec: str) -> str:
        """The file that sessions of that codec find under a name: manifests are of their ladder alone."""
        return ladder_file(relative, codec) if self.title.is_mixed else relative

    def options(self, codec: str, counted: CountedQuality) -> TitleOptions:
        """What it may offer in sessions of that codec; made once."""
        key = codec, counted
        known = self._options.get(key)
        return known or self._options.setdefault(key, counted.options(self.in_codec(codec), self.table))


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

    def has_title(self, title_id: str) -> bool:
        """Whether there is a complete title of that id, told without looking at the others."""
        return bool(IDENTIFIER.fullmatch(title_id)) and self._is_title(self.root / title_id)

    def has_kept(self, title_id: str, version: str) -> bool:
        """Whether that version of a title, replaced by a newer one, is still here."""
        return bool(IDENTIFIER.fullmatch(title_id)) and kept_folder(self.root, title_id, version).is_dir()

    def live_titles(self) -> list[str]:
        """Ids of the live titles, sorted: streams that wait, run, or have ended without being kept."""
        with suppress(OSError):
            return sorted(entry.name for entry in self.root.iterdir() if self.has_live(entry.name))
        return []

    def has_live(self, title_id: str) -> bool:
        """Whether there is a live title of that id. It is none of `titles`."""
        return bool(IDENTIFIER.fullmatch(title_id)) and self._is_live(self.root / title_id)

    def live_folder(self, title_id: str, version: str = "") -> Path | None:
        """Where a live title lies, or the named version of it that became an ordinary title; None when there is none.

        version: none for the one of now, whichever it is.
        """
        if not IDENTIFIER.fullmatch(title_id):
            return None
        folder, kept = self.root / title_id, kept_folder(self.root, title_id, version)
        if self._is_live(folder) and version in ("", load_live(folder).version):
            return folder
        return kept if version and self._is_live(kept) else None

    def title(self, title_id: str, kept: str = "") -> Title:
        """Raises UnknownNameError when there is no such title, FormatError when its title.json is not valid.

        kept: a replaced version to look at instead of the one that is listed; in all methods.
        """
        return msgspec.structs.replace(self.stored_title(title_id, kept), id=title_id)

    def stored_title(self, title_id: str, kept: str = "") -> Title:
        """The same with the id that it was prepared by: another one where its folder was renamed by hand."""
        return load(self.folder(title_id, kept) / TITLE_FILE, Title)

    def enhancements(self, title_id: str, kept: str = "") -> EnhancementTable | None:
        """The title's enhancement table, or None while it has none. Raises as `title` does."""
        path = self.folder(title_id, kept) / ENHANCEMENTS_FILE
        return load(path, EnhancementTable) if path.is_file() else None

    def path(self, title_id: str, relative: str, kept: str = "") -> Path:
        """The real path of one regular file of a title; UnknownNameError for everything else."""
        return path_in(self.folder(title_id, kept), relative)

    def building(self, title_id: str) -> Path:
        """Where a title is being built: on the same file system as where it will stand."""
        return self.root / f".building-{title_id}"

    def protecting(self, title_id: str) -> Path:
        """Where a title is being encrypted."""
        return self.root / f".protecting-{title_id}"

    def check_place(self, title_id: str) -> None:
        """Raises InputError where a title of that id cannot be put: it is no name, or something else lies there."""
        if not IDENTIFIER.fullmatch(title_id):
            raise InputError(
                f"{title_id!r} cannot name a title; use up to 64 letters, digits, dots, dashes and underscores."
            )
        place = self.root / title_id
        if place.is_symlink() or (place.exists() and not _may_be_replaced(place)):
            raise InputError(f"{place} is there already, and is no title; move it away or choose a name with --id.")

    def publish(self, title_id: str, built: Path, *, keeps_replaced: bool = True) -> Path:
        """Move the complete folder `built` to its place, replacing an older title of that id.

        Everything is on the disk before the rename makes it visible. Between the two renames of a replacement the
        title is absent, never half there. What was replaced is kept for its viewers, if its version is another one and
        keeps_replaced says so. Raises StorageError; InputError for a place with something else, as `check_place`.
        """
        self.check_place(title_id)
        target = self.root / title_id
        unwanted = self.root / f".replaced-{title_id}"
        before, now = _version_in(target), _version_in(built)
        is_kept = keeps_replaced and before and before != now
        replaced = kept_folder(self.root, title_id, before) if is_kept else unwanted
        try:
            fsync_tree(built)
            drop(replaced)
            if target.exists():
                target.rename(replaced)
                note_replaced(replaced)
            try:
                built.rename(target)
            except OSError:
                if replaced.exists():
                    replaced.rename(target)
                raise
            fsync_path(self.root)
            drop(unwanted)
            drop(kept_folder(self.root, title_id, now))
            drop_outlived(self.root)
        except OSError as error:
            raise StorageError(f"Cannot publish {target}: {error.strerror}.") from error
        return target

    def folder(self, title_id: str, kept: str = "") -> Path:
        """Where a title lies. Raises UnknownNameError."""
        if kept and self.has_kept(title_id, kept):
            return kept_folder(self.root, title_id, kept)
        if kept or not self.has_title(title_id):
            raise UnknownNameError("title", title_id, self.titles())
        return self.root / title_id

    def _is_live(self, folder: Path) -> bool:
        return not folder.is_symlink() and (folder / LIVE_FILE).is_file() and not (folder / TITLE_FILE).is_file()

    def _is_title(self, folder: Path) -> bool:
        return bool(IDENTIFIER.fullmatch(folder.name)) and not folder.is_symlink() and (folder / TITLE_FILE).is_file()


def path_in(folder: Path, relative: str) -> Path:
    """The real path of one regular file below a title's folder; UnknownNameError for everything else.

    `relative` is hostile: absolute paths, `..`, dot-names, NUL, other spellings of a path (`a//b`, `a/`) and symbolic
    links that lead out are all unknown.
    """
    folder = folder.resolve()
    parts = PurePosixPath(relative).parts
    if (
        relative != "/".join(parts)
        or not parts
        or any(part == "/" or part.startswith(".") or "\0" in part or "\\" in part for part in parts)
    ):
        raise UnknownNameError("file", relative, ())
    try:
        path = folder.joinpath(*parts).resolve()
        found = path.is_relative_to(folder) and path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        raise UnknownNameError("file", relative, ()) from error
    if not found:
        raise UnknownNameError("file", relative, ())
    return path


def _may_be_replaced(place: Path) -> bool:
    """Whether a folder is a title, damaged or live ones too, or is empty."""
    return place.is_dir() and (
        any((place / each).is_file() for each in (TITLE_FILE, LIVE_FILE)) or not any(place.iterdir())
    )


def _version_in(folder: Path) -> str:
    """The version of the title in a folder, or of the live one; nothing when there is none that can be read."""
    try:
        if (folder / TITLE_FILE).is_file():
            return load(folder / TITLE_FILE, Title).version
        return load_live(folder).version
    except ToprungError:
        return ""

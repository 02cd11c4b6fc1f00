"""What a title consists of at a CDN: one object for each file, and the headers that it is sent with.

A version's own folder is a copy of the title, whose media never changes. The manifests beside it lead to that version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from abr.blur.track import KERNELS_FILE
from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.core.title import CHAPTERS_FILE, TITLE_FILE, TRICK_PLAY, Title, segment_file
from abr.errors import FormatError, InputError, StorageError
from server.media.library import Library, path_in
from server.media.live_title import load_live
from server.media.media_file import BRIEF, IMMUTABLE, content_type_of
from server.media.versions import (
    MEDIA_FOLDERS,
    is_lasting,
    lead_to_version,
    leads_to_version,
    version_folder,
)

_WEIGHTS = "enhancers"
_TABLES = (ENHANCEMENTS_FILE, TITLE_FILE, CHAPTERS_FILE, KERNELS_FILE)
_ENTRIES = ("master", "manifest")
"""What players are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleObject:
    """One object of a title."""

    key: str
    """Its path below the destination: `ID/v-VERSION/video/180p/seg-00001.m4s`."""
    path: Path
    """The file that it is made of."""
    size_bytes: int
    content_type: str
    cache_control: str
    led_to: str = ""
    """For a manifest beside the versions: the one that it leads to."""

    @property
    def is_lasting(self) -> bool:
        """Whether its bytes never change, so that one of the same size is the same."""
        return self.cache_control == IMMUTABLE

    def read(self) -> bytes:
        """Its bytes. Raises StorageError when the file cannot be read, or is another one by now."""
        try:
            body = self.path.read_bytes()
        except OSError as error:
            raise StorageError(f"Cannot read {self.path}: {error.strerror}.") from error
        if self.led_to:
            return lead_to_version(self.path.name, body, self.led_to)
        if len(body) != self.size_bytes:
            raise StorageError(f"{self.path} was replaced meanwhile; publish the title again.")
        return body


def objects_of(library: Library, title_id: str, now_s: float) -> list[TitleObject]:
    """All objects of a title, in an order in which nothing leads to what is not there yet.

    Raises UnknownNameError; InputError for a live title, and for one prepared before versions were in URLs; FormatError
    and StorageError for one that is damaged.
    """
    if library.has_live(title_id):
        state = load_live(library.root / title_id).describe(now_s)
        raise InputError(f"{state} It can be published once it is kept (--keep).")
    title, folder = library.title(title_id), library.folder(title_id)
    if not title.version:
        raise InputError(f"Title {title_id!r} is of an older Toprung, without a version: prepare it anew (--force).")
    _check_segments(title, folder)
    below = f"{title_id}/{version_folder(title.version)}"
    copies = [_copy(below, folder, relative, title.version) for relative in _files_of(folder)]
    leads = [_lead(title_id, folder, name, title.version) for name in _manifests_of(folder)]
    return [*copies, *leads]


def _check_segments(title: Title, folder: Path) -> None:
    """Raises FormatError when a segment is missing or has another size than the title says."""
    tracks = [(folder / "video" / each.id, each.segment_bytes) for each in title.files]
    if title.trick_play:
        tracks.append((folder / "video" / TRICK_PLAY, title.trick_play.segment_bytes))
    tracks += [(folder / "audio" / each.id, each.segment_bytes) for each in title.audio]
    tracks += [(folder / "subtitles" / each.id, each.imsc_bytes) for each in title.subtitles]
    for track, sizes_bytes in tracks:
        for segment, size_bytes in enumerate(sizes_bytes):
            path = track / segment_file(segment)
            if not path.is_file() or path.stat().st_size != size_bytes:
                raise FormatError(f"{path} is missing or damaged: prepare the title anew (--force).")


def _files_of(folder: Path) -> Iterator[str]:
    """Media and weights first, then what leads to them. What is for the server alone stays here."""
    for name in (*MEDIA_FOLDERS, _WEIGHTS):
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
                yield path.relative_to(folder).as_posix()
    yield from (name for name in _TABLES if (folder / name).is_file())
    yield from _manifests_of(folder)


def _manifests_of(folder: Path) -> list[str]:
    """Those for any player, the ones that lead to all others last."""
    names = [path.name for path in folder.iterdir() if leads_to_version(path.name)]
    return sorted(names, key=lambda name: (name.startswith(_ENTRIES), name))


def _copy(below: str, folder: Path, relative: str, version: str) -> TitleObject:
    path = path_in(folder, relative)
    return TitleObject(
        key=f"{below}{relative}",
        path=path,
        size_bytes=path.stat().st_size,
        content_type=content_type_of(relative),
        cache_control=IMMUTABLE if is_lasting(relative, version) else BRIEF,
    )


def _lead(title_id: str, folder: Path, name: str, version: str) -> TitleObject:
    made = replace(_copy(f"{title_id}/", folder, name, ""), led_to=version)
    return replace(made, size_bytes=len(made.read()))

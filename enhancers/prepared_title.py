"""A prepared title: its decoded rungs and, for training and measuring, its source on the same frame grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.title import INIT_FILE, LIFTED_FILE, TITLE_FILE, Rendition, Title, segment_file
from abr.errors import InputError, MediaError, StorageError, UnknownNameError
from abr.files import file_sha256
from abr.media.source_frames import reference_frames
from abr.records import load
from enhancers.runtime.frames import Frame, decode_segment


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleFolder:
    """A complete title, as `toprung prepare` wrote it."""

    folder: Path
    title: Title

    @property
    def display_px(self) -> tuple[int, int]:
        """Width and height of the display."""
        return self.title.display_width_px, self.title.display_height_px

    def frames(self, rendition: Rendition, segment: int, *, motion: bool = False) -> list[Frame]:
        """The decoded frames of one segment, with the codec's `motion` or without.

        Raises MediaError when there are more or fewer than the title says.
        """
        folder = self.folder / "video" / rendition.id
        try:
            data = (folder / INIT_FILE).read_bytes() + (folder / segment_file(segment)).read_bytes()
        except OSError as error:
            raise StorageError(f"Cannot read segment {segment} of {rendition.id}: {error.strerror}.") from error
        frames = list(decode_segment(data, motion=motion))
        if len(frames) != self.title.segment_frames[segment]:
            expected = self.title.segment_frames[segment]
            raise MediaError(f"Segment {segment} of {rendition.id} has {len(frames)} frames; {expected} were expected.")
        return frames


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTitle(TitleFolder):
    """A title, and the file that it was made from."""

    source: Path

    def source_frames(self) -> Iterator[Frame]:
        """The source at display size, upright, one frame a cell of the title's grid, as many as the title has.

        For a display above the source's own size, what the source was lifted to. Raises MediaError when it ends early.
        """
        came = self.folder / LIFTED_FILE if self.title.source.lifted else self.source
        return (Frame(picture=picture) for picture in reference_frames(came, self.title))


def find_title(library: Path, title_id: str) -> TitleFolder:
    """Find a title, its source aside. Raises UnknownNameError or FormatError."""
    folder = library / title_id
    if not (folder / TITLE_FILE).is_file():
        known = [path.parent.name for path in library.glob(f"[!.]*/{TITLE_FILE}")] if library.is_dir() else []
        raise UnknownNameError("title", title_id, known)
    return TitleFolder(folder=folder, title=load(folder / TITLE_FILE, Title))


def find_table(title: TitleFolder) -> EnhancementTable:
    """What a title's enhancers are. Raises InputError for a title that has none, FormatError for a damaged table."""
    path = title.folder / ENHANCEMENTS_FILE
    if not path.is_file():
        title.title.check_enhancement()
        raise InputError(f"{title.title.id} has no enhancers yet; train it first: toprung train {title.title.id}.")
    return load(path, EnhancementTable)


def open_title(library: Path, title_id: str, source: Path | None) -> PreparedTitle:
    """Find a title and make sure of its source, for what has to do with enhancers.

    Raises UnknownNameError, InputError (also for a title that may not be enhanced) or FormatError.
    """
    found = find_title(library, title_id)
    title = found.title
    title.check_enhancement()
    if source is None:
        raise InputError(f"Training compares with the source of {title_id}: give --source {title.source.name}.")
    if not source.is_file():
        raise InputError(f"There is no file {source}; {title_id} was prepared from {title.source.name}.")
    if (digest := file_sha256(source)) != title.source.sha256:
        raise InputError(
            f"{source} is not what {title_id} was prepared from: its sha256 is {digest[:12]}…, "
            f"that of {title.source.name} was {title.source.sha256[:12]}…."
        )
    if title.source.lifted:
        _check_lifted(found.folder / LIFTED_FILE, title.source.lifted)
    return PreparedTitle(folder=found.folder, title=title, source=source)


def _check_lifted(path: Path, sha256: str) -> None:
    if not path.is_file() or file_sha256(path) != sha256:
        raise InputError(f"{path} is gone or is another file, and training compares with it: prepare the title again.")

"""Segments kept as they came, for `toprung federate join` to learn from what was watched. For who asks for it."""

from __future__ import annotations

from pathlib import Path

from abr.core.title import INIT_FILE, TITLE_FILE, Title, segment_file
from abr.errors import StorageError
from abr.files import write_atomically
from abr.records import dumps
from client_player.source.base import ServedSegment

KEPT_BYTES_MAX = 64 << 20
"""Of all segments in a folder, whichever titles they are of: those that came first go first."""
_SEGMENTS = "seg-*.m4s"


class CameKeeper:
    """Keeps segments of one title below `folder`, laid out as titles have them. Blocks: to be used in a thread.

    Of rungs smaller than the display, which networks lift; nothing of a protected title, which nobody could read.
    """

    def __init__(self, folder: Path, title: Title, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._root, self._title, self._bytes_max = folder, title, bytes_max
        self._low = {each.id for each in title.renditions if each.height_px < title.display_height_px}

    def keep(self, served: ServedSegment) -> None:
        """Raises StorageError."""
        rung = served.decided.rendition
        if rung not in self._low or self._title.protection:
            return
        folder = self._root / self._title.id
        video = folder / "video" / rung
        if _read(video / INIT_FILE) != served.init:  # of a title by that name, but not of this one
            _empty(video)
            write_atomically(folder / TITLE_FILE, dumps(self._title), durable=False)
            write_atomically(video / INIT_FILE, served.init, durable=False)
        self._make_room(len(served.body))
        write_atomically(video / segment_file(served.decided.segment), served.body, durable=False)

    def _make_room(self, size_bytes: int) -> None:
        try:
            kept = sorted(
                (path.stat().st_mtime_ns, path.stat().st_size, path)
                for path in self._root.glob(f"*/video/*/{_SEGMENTS}")
            )
            excess = sum(size for _, size, _ in kept) + size_bytes - self._bytes_max
            for _, size, path in kept:
                if excess <= 0:
                    return
                path.unlink(missing_ok=True)
                excess -= size
        except OSError as error:
            raise StorageError(f"Cannot make room in {self._root}: {error.strerror}.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _empty(folder: Path) -> None:
    try:
        for path in folder.glob(_SEGMENTS):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot clear {folder}: {error.strerror}.") from error

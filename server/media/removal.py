"""Taking a title out of a library: gone at once for whoever looks, then its files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from abr.errors import StorageError, UnknownNameError
from abr.files import fsync_path, lock_folder
from server.media.kept_versions import drop, kept_folders
from server.media.library import Library


def remove_title(library: Library, title_id: str) -> Path:
    """Remove a title, its replaced versions and unfinished work that lie beside it; returns the folder that it had.

    One rename makes it absent, so that no reader finds half of it. A damaged title can be removed too, and a live one
    that has ended. Raises UnknownNameError when there is none, InputError while it is being trained or
    protected, or runs, StorageError when the disk refuses.
    """
    if title_id not in (known := [*library.titles(), *library.live_titles()]):
        raise UnknownNameError("title", title_id, known)
    folder, removed = library.root / title_id, library.root / f".removed-{title_id}"
    training, building = library.root / f".training-{title_id}", library.building(title_id)
    protecting = library.protecting(title_id)
    encrypts = f"{title_id} is being protected: wait for that to end, or stop it, before you remove it."
    busy = f"{title_id} is being trained: wait for that to end, or stop it, before you remove it."
    streams = f"The live stream {title_id} is running: stop it before you remove it."
    was_live = library.has_live(title_id)
    try:
        with (
            _hold(training, busy) if training.is_dir() else nullcontext(),
            _hold(protecting, encrypts) if protecting.is_dir() else nullcontext(),
            _hold(building, streams) if building.is_dir() and was_live else nullcontext(),
        ):
            shutil.rmtree(removed, ignore_errors=True)
            folder.rename(removed)
            fsync_path(library.root)
            shutil.rmtree(removed)
            if was_live and building.is_dir():  # of a stream that was killed
                shutil.rmtree(building)
            for kept in kept_folders(library.root, title_id):
                drop(kept)
            for unfinished in filter(Path.is_dir, (training, protecting)):
                shutil.rmtree(unfinished)
    except OSError as error:
        raise StorageError(f"Cannot remove {folder}: {error.strerror}.") from error
    return folder


@contextmanager
def _hold(folder: Path, busy: str) -> Iterator[None]:
    with lock_folder(folder, busy=busy):
        yield

"""Files and folders on the disk: digests, writes that are whole or not there, and folders that one process holds."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from abr.errors import FormatError, InputError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cache_folder() -> Path:
    """The user's cache folder for this program (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toprung"


def file_sha256(path: Path) -> str:
    """Hex digest of a file. Raises InputError when there is no such file, StorageError when it cannot be read."""
    if not path.is_file():
        raise InputError(f"There is no file {path}; give the path of a video file.")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error


def read_bounded(path: Path, bytes_max: int, *, what: str) -> bytes:
    """A file of at most so many bytes. what: it is supposed to be, such as "file of opinions".

    Raises StorageError when it cannot be read, FormatError when it is longer.
    """
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    if len(data) > bytes_max:
        raise FormatError(f"{path} has more than {bytes_max:,} bytes; that is no {what}.")
    return data


def write_file(path: Path, data: bytes) -> None:
    """Write a file. Raises StorageError when the disk refuses; then part of it may be there."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _refused(path, error) from error


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file that is whole or not there, whoever reads it or is killed meanwhile. Makes its folder.

    The data is on the disk before the name is, unless not `durable`: then a power cut may lose what a killed process
    does not. Raises StorageError; an older file of that name stays then.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise _refused(path, error) from error


def check_output(path: Path, *sources: Path) -> None:
    """Before long work: whether `write_atomically` can write there, and whether it is none of the files that are read.

    Makes its folder. Raises InputError, StorageError.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file to write.")
    if any(path.exists() and source.exists() and path.samefile(source) for source in sources):
        raise InputError(f"{path} is read, so it cannot be written too; give another name to write to.")
    aside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch()
        aside.unlink()
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> StorageError:
    advice = "; free some space" if error.errno in _FULL else ""
    return StorageError(f"Cannot write {path}: {os.strerror(error.errno or 0)}{advice}.")


def fsync_tree(folder: Path) -> None:
    """Force every file and folder below `folder`, and itself, to the disk. Raises OSError."""
    for parent, _, files in os.walk(folder):
        for name in files:
            fsync_path(Path(parent) / name)
        fsync_path(Path(parent))


def fsync_path(path: Path) -> None:
    """Force a file, or the list of names in a folder, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_folder(folder: Path, *, busy: str) -> IO[bytes]:
    """Make `folder` and keep other processes out of it until the file that this returns, `lock` in it, is closed.

    Raises InputError, in the words of `busy`, while another process holds it, and StorageError when the disk refuses.
    """
    lock: IO[bytes] | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if lock is not None:
            lock.close()
        if isinstance(error, BlockingIOError):
            raise InputError(busy) from error
        raise StorageError(f"Cannot work in {folder}: {error.strerror}.") from error
    return lock


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`; what goes away meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total

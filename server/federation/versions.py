"""Versions of a tuned network in a folder: whole or not there, and checked by SHA-256 whenever they are read.

<number>-<sha256, 12 characters>.safetensors    weights, written before anything names them
version.json                                    the ModelVersion that is the best so far, replaced at once
history.jsonl                                   all that were kept, a line each
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from abr.errors import FormatError, StorageError
from abr.federation.version import WEIGHTS_BYTES_MAX, ModelVersion
from abr.files import read_bounded, write_atomically
from abr.records import dumps, dumps_pretty, load

VERSION_FILE, HISTORY_FILE = "version.json", "history.jsonl"


class VersionStore:
    """Blocks: to be used in a thread. All raise StorageError, reading FormatError too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self) -> tuple[ModelVersion, bytes] | None:
        """The version that was kept last, and its weights; None in a new folder."""
        if not (self.folder / VERSION_FILE).is_file():
            return None
        version = load(self.folder / VERSION_FILE, ModelVersion)
        try:
            return version, checked(read_bounded(self.path(version), WEIGHTS_BYTES_MAX, what="weights"), version)
        except FormatError as error:
            file = self.folder / VERSION_FILE
            raise FormatError(f"{error} Put {self.path(version)} back, or take {file} away to begin anew.") from error

    def path(self, version: ModelVersion) -> Path:
        """Of its weights."""
        return self.folder / f"{version.number}-{version.sha256[:12]}.safetensors"

    def keep(self, version: ModelVersion, body: bytes) -> None:
        """From now on this is the newest. A killed server has it, or the one before it."""
        write_atomically(self.path(version), checked(body, version))
        write_atomically(self.folder / VERSION_FILE, dumps_pretty(version))
        with suppress(OSError), (self.folder / HISTORY_FILE).open("ab") as file:  # for people: nothing reads it
            file.write(dumps(version) + b"\n")


def checked(body: bytes, version: ModelVersion) -> bytes:
    """The weights, when they are what the version says. Raises FormatError."""
    if len(body) != version.size_bytes or hashlib.sha256(body).hexdigest() != version.sha256:
        raise FormatError(f"The weights of version {version.number} are not what its card says: they are damaged.")
    return body


def read_made(folder: Path, name: str, size_bytes: int, sha256: str) -> bytes:
    """A file that the judge says it has made. Raises FormatError when it is another, StorageError."""
    if Path(name).name != name or name.startswith("."):
        raise FormatError(f"{name[:100]!r} is no file of the judge's folder.")
    body = read_bounded(folder / name, WEIGHTS_BYTES_MAX, what="weights")
    if len(body) != size_bytes or hashlib.sha256(body).hexdigest() != sha256:
        raise FormatError(f"{name[:100]} is not what the judge says that it is.")
    return body


def clear_made(folder: Path) -> None:
    """Empty the judge's folder, which holds nothing that is kept. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot clear {folder}: {error.strerror}.") from error

"""The module that lifts videos on pages of other people: the files of the pages that it is made of, in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from abr.files import write_atomically
from server.http.pages import GENERIC, WEB

_MODULES = ("embed/*.js", "network/*.js")
_OF_PLAYER = ("choices", "enhancer", "keeper", "plans/*", "profile", "thread", "worker")


def _files() -> Iterator[tuple[str, Path]]:
    """Each file's path in the folder, and where it is here."""
    for pattern in (*_MODULES, *(f"player/{name}.js" for name in _OF_PLAYER)):
        for path in sorted(WEB.glob(pattern)):
            yield path.relative_to(WEB).as_posix(), path
    for path in sorted(GENERIC.glob("*.safetensors")):
        yield f"generic/{path.name}", path


def write_embed(folder: Path) -> int:
    """Write the module into a folder, over what an earlier one left there. Returns its bytes. Raises StorageError."""
    written = 0
    for name, path in _files():
        data = path.read_bytes()
        write_atomically(folder / name, data, durable=False)
        written += len(data)
    return written

"""What is wrong with a library before anything is served from it: mistyped, not a library, or empty."""

from __future__ import annotations

import difflib
from itertools import islice
from pathlib import Path

from abr.core.title import TITLE_FILE
from abr.errors import InputError
from server.media.library import Library

FOLDERS_MAX = 64
"""Looked into for what may have been meant."""


def check_library(folder: str) -> str:
    """A sentence when there is nothing to serve yet, else nothing. Blocks.

    Raises InputError when `folder` is no library: it is not there, or is a title.
    """
    root = Path(folder)
    if not folder or not root.is_dir():
        raise InputError(f"There is no library folder at {folder!r}{_guess(folder)}; `toprung prepare` makes one.")
    if (root / TITLE_FILE).is_file():
        around = str(root.absolute().parent)
        raise InputError(f"{folder!r} is one title; give the folder that it is in: --library {around!r}.")
    if Library(root).titles() or Library(root).live_titles():
        return ""
    below = _libraries_below(root)
    hint = f"did you mean {str(below[0])!r}?" if below else "`toprung prepare FILE --library DIR` adds one."
    return f"The library {folder!r} holds no titles yet; {hint}"


def _guess(folder: str) -> str:
    """The folder beside it with nearly the same name."""
    path = Path(folder).absolute()
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if folder else []
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f" (did you mean {str(Path(folder).parent / close[0])!r}?)" if close else ""


def _libraries_below(root: Path) -> list[Path]:
    """Folders in `root` that hold titles."""
    try:
        folders = islice((entry for entry in sorted(root.iterdir()) if entry.is_dir()), FOLDERS_MAX)
        return [entry for entry in folders if Library(entry).titles()]
    except OSError:
        return []

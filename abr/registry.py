"""A registry of named things: loud about duplicates and unknown names, extended by `path/to/file.py:Name`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from abr.errors import InputError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to things of one kind, in order of registration.

    `kind` is the word used in error messages, such as "controller".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Register `entry`; raises ValueError when the name is taken."""
        if name in self._entries:
            raise ValueError(f"two {self.kind}s named {name!r}")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""
        return lambda entry: self.add(name, entry)

    def get(self, name: str) -> T:
        """The entry called `name`, or the attribute of a user's file given as `path/to/file.py:Name`.

        Raises UnknownNameError for an unknown name and InputError for a file that cannot be used.
        """
        if ".py:" in name:
            entry: T = load_from_file(self.kind, name)
            return entry
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def load_from_file(kind: str, reference: str) -> T:  # type: ignore[type-var]
    """Import attribute `Name` of `path/to/file.py:Name`. Raises InputError when either is missing or fails."""
    path_text, _, attribute = reference.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise InputError(f"No {kind} at {reference!r}: the file {path} does not exist.")
    spec = importlib.util.spec_from_file_location(f"toprung_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"No {kind} at {reference!r}: {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while the body runs
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"The {kind} file {path} fails on import: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        raise InputError(f"{path} has no {attribute!r}; give the {kind} as path/to/file.py:Name.")
    entry: T = getattr(module, attribute)
    return entry

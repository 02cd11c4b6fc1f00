"""Typed JSON files: every format Toprung reads or writes is a msgspec Struct with `loads` and `dumps` through here."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from abr.errors import FormatError, StorageError

T = TypeVar("T")

_SHOWN_MAX_CHARS = 300


def _shown(why: str) -> str:
    """A reason without its middle, if it is long: it may quote what a stranger sent; its end tells the place."""
    half = _SHOWN_MAX_CHARS // 2
    return why if len(why) <= _SHOWN_MAX_CHARS else f"{why[:half]} … {why[-half:]}"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything written to a file or sent on the wire: immutable and closed. Give its fields by keyword."""


def loads(data: bytes | str, kind: type[T], *, what: str) -> T:
    """Decode JSON into `kind`; raises FormatError naming `what` and the offending place."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{what} is not valid: {_shown(str(error))}.") from error


def dumps(record: object) -> bytes:
    """Encode to compact JSON. The inverse of `loads`."""
    return msgspec.json.encode(record)


def dumps_pretty(record: object) -> bytes:
    """Encode to indented JSON with a final newline, for files that people read."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def load(path: Path, kind: type[T]) -> T:
    """Read a JSON file into `kind`; FormatError when malformed, StorageError when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    return loads(data, kind, what=str(path))

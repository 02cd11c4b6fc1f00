"""A cached file on the disk: its digest, what it is, and its bytes. Damage of any kind is found before it is used.

64 hexadecimal digits    SHA-256 of all that follows the first line feed
line feed
JSON, one line           Label
line feed
the rest                 the body
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from abr.errors import FormatError
from abr.records import Record, dumps, loads

_DIGITS = 64
LABEL_MAX_BYTES = 2048


class Label(Record, frozen=True):
    """What a file is. key: its name in the cache. worth: VMAF points that it is worth to have it, at each request."""

    key: str
    worth: float


def pack(label: Label, body: bytes) -> bytes:
    """The file's bytes."""
    rest = dumps(label) + b"\n" + body
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def unpack(data: bytes, key: str) -> bytes:
    """The body of the file called `key`. Raises FormatError for any byte that is not as it was packed."""
    digest, _, rest = data[: _DIGITS + 1], b"", data[_DIGITS + 1 :]
    if digest != hashlib.sha256(rest).hexdigest().encode() + b"\n":
        raise FormatError(f"The cached file {key} is damaged: its SHA-256 is not what it says.")
    line, _, body = rest.partition(b"\n")
    label = loads(line, Label, what=f"The label of {key}")
    if label.key != key:
        raise FormatError(f"The cached file {key} is in the place of another: it is {label.key!r}.")
    return body


def read_label(path: Path) -> Label:
    """What a file says that it is; its bytes are not checked. Raises FormatError, OSError."""
    with path.open("rb") as file:
        head = file.read(LABEL_MAX_BYTES)
    line, found, _ = head[_DIGITS + 1 :].partition(b"\n")
    if not found:
        raise FormatError(f"{path} is no cached file: it has no label.")
    return loads(line, Label, what=f"The label of {path}")

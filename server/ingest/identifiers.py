"""Names of titles from names of files, which may be in any script, alike, or no text at all."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from itertools import count
from pathlib import Path

_LENGTH_MAX = 64
_DIGEST_LENGTH = 8


def identifier_of(source: Path) -> str:
    """A title id from a file name: what is not allowed in one becomes a dash.

    Accents are dropped. A name that loses letters or digits of another script ends in a digest of the whole name, so
    that different names stay different.
    """
    stem = unicodedata.normalize("NFKD", readable_name(source.with_suffix("")))
    plain = "".join(letter for letter in stem if not unicodedata.combining(letter))
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")
    if not any(letter.isalnum() and not letter.isascii() for letter in plain):
        return words[:_LENGTH_MAX].rstrip("-._") or "title"
    digest = hashlib.sha256(stem.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{words[: _LENGTH_MAX - _DIGEST_LENGTH - 1].rstrip('-._') or 'title'}-{digest}"


def readable_name(source: Path) -> str:
    """The file's name as text; bytes that are no UTF-8 become U+FFFD."""
    return source.name.encode(errors="surrogateescape").decode(errors="replace")


def identifiers_of(sources: Iterable[Path]) -> dict[Path, str]:
    """A title id for each source, in order and all different: the second `film` is `film-2`. A path counts once."""
    named: dict[Path, str] = {}
    for source in sources:
        if source not in named:
            named[source] = _free_identifier(identifier_of(source), set(named.values()))
    return named


def _free_identifier(wanted: str, taken: set[str]) -> str:
    numbered = (wanted[: _LENGTH_MAX - len(f"-{n}")] + f"-{n}" for n in count(2))
    return wanted if wanted not in taken else next(name for name in numbered if name not in taken)

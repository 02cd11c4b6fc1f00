"""The networks that a running stream has published: immutable files beside its segments, and no more bytes than agreed.

A file is named by its content and is there before any table names it. One that no table names any more stays for a
while: whoever has just read an older table can still fetch it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from abr.core.enhancement import Chunk
from abr.errors import FormatError, StorageError
from abr.files import write_atomically

FOLDER = "enhancers"
ADVANCE_S = 60.0
"""Publications may take what the stream will allow in so many seconds: the first one is to come soon."""
CHUNK_BYTES_MAX = 4 << 20


@dataclass(slots=True, kw_only=True)
class PublishedWeights:
    """The published chunks of one stream.

    folder: of the live title. share: of the lowest rung's bytes that publications may take. keep_s: how long files stay
    that nothing names any more.
    """

    folder: Path
    share: float
    keep_s: float
    published_bytes: int = 0
    _unnamed_s: dict[str, float | None] = field(default_factory=dict)
    """By file: since when nothing names it; None while something does."""

    def allowance_bytes(self, rung_bytes: int, stream_s: float) -> int:
        """What may be published now, with a stream whose lowest rung has so many bytes in so many seconds."""
        ahead = 1 + ADVANCE_S / stream_s if stream_s > 0 else 0.0
        return max(0, int(self.share * rung_bytes * ahead) - self.published_bytes)

    def put(self, chunks: Iterable[Chunk], made: Path, allowance_bytes: int) -> bool:
        """Publish the chunks, which lie in `made`; whether any was new.

        Raises FormatError for chunks that are not what they are said to be, or too many bytes, StorageError. Nothing is
        published then.
        """
        bodies = {chunk.file: _read(chunk, made) for chunk in chunks if chunk.file not in self._unnamed_s}
        size_bytes = sum(map(len, bodies.values()))
        if size_bytes > allowance_bytes:
            raise FormatError(f"A publication of {size_bytes} bytes is more than the {allowance_bytes} that may be.")
        for file, body in bodies.items():
            write_atomically(self.folder / file, body, durable=False)
            self._unnamed_s[file] = None
        self.published_bytes += size_bytes
        return bool(bodies)

    def name_only(self, files: frozenset[str], now_s: float) -> None:
        """From now on these are named; others go once nothing has named them for `keep_s`. Raises StorageError."""
        for file, since_s in list(self._unnamed_s.items()):
            if file in files:
                self._unnamed_s[file] = None
            elif since_s is None:
                self._unnamed_s[file] = now_s
            elif now_s - since_s > self.keep_s:
                del self._unnamed_s[file]
                try:
                    (self.folder / file).unlink(missing_ok=True)
                except OSError as error:
                    raise StorageError(f"Cannot remove from {self.folder}: {error.strerror}.") from error


def _read(chunk: Chunk, made: Path) -> bytes:
    path = PurePosixPath(chunk.file)
    if path.parts[:-1] != (FOLDER,) or chunk.sha256[:12] not in path.name or chunk.size_bytes > CHUNK_BYTES_MAX:
        raise FormatError(f"{chunk.file[:200]!r} is no chunk that can be published.")
    try:
        with (made / path.name).open("rb") as file:
            body = file.read(CHUNK_BYTES_MAX + 1)
    except OSError as error:
        raise StorageError(f"Cannot read {made / path.name}: {error.strerror}.") from error
    if len(body) != chunk.size_bytes or hashlib.sha256(body).hexdigest() != chunk.sha256:
        raise FormatError(f"{chunk.file} is not what it is said to be.")
    return body

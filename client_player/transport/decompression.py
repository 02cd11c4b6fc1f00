"""Decompresses bodies (Content-Encoding, RFC 9110, 8.4) within bounds: a small body may expand to a huge one."""

from __future__ import annotations

import zlib

ACCEPTED = "gzip"
_GZIP = ("gzip", "x-gzip")
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Decompressor:
    """Takes a body piece by piece. Raises ValueError, saying why, when it is damaged, unknown or too large."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", *_GZIP):
            raise ValueError(f"its Content-Encoding is {encoding[:40]!r}, which was not asked for")
        self._inflate = zlib.decompressobj(_GZIP_WINDOW) if name in _GZIP else None
        self._max_bytes = max_bytes
        self._body = bytearray()
        self.wire_bytes = 0
        """Bytes taken so far, as they travelled."""

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body as it travelled. Raises ValueError for damaged or too large ones."""
        self.wire_bytes += len(piece)
        room = self._max_bytes + 1 - len(self._body)
        try:
            self._body += self._inflate.decompress(piece, room) if self._inflate else piece
        except zlib.error as error:
            raise ValueError(f"its packed body is damaged ({error})") from error
        if len(self._body) > self._max_bytes:
            raise ValueError(f"it holds more than {self._max_bytes} bytes")

    def body(self) -> bytes:
        """The whole, when all pieces have been fed."""
        if self._inflate and not self._inflate.eof:
            raise ValueError("its packed body ends too early")
        return bytes(self._body)

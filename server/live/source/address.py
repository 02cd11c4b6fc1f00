"""Where a live source is, and how to take it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from abr.errors import InputError, MediaError

PROTOCOLS = {
    "file": "file",
    "http": "http,https,tcp,tls",
    "https": "http,https,tcp,tls",
    "pipe": "pipe",
    "rtmp": "rtmp,tcp",
    "rtp": "rtp,udp",
    "rtsp": "rtsp,rtp,udp,tcp",
    "tcp": "tcp",
    "udp": "udp",
}
"""What FFmpeg may open for an address of each scheme."""
_RETURNING = frozenset({"rtmp", "rtp", "rtsp", "tcp", "udp"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SHOWN_MAX = 40
"""Characters of a test source's description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a source is and how to take it.

    place: a file, a URL, `-` for the standard input, or a graph for the format lavfi. listen: wait for a publisher.
    pace: take a file at its own rate. silence_s: a source that sends nothing, or no picture, for so long has
    ended. wait_s: how long the first picture is waited for. return_s: how long one that broke off is waited for.
    """

    place: str
    format: str | None = None
    listen: bool = False
    pace: bool = False
    silence_s: float = 10.0
    wait_s: float = 600.0
    return_s: float = 0.0

    @property
    def scheme(self) -> str:
        """Such as rtmp; `file` for what is no URL."""
        if self.place == "-":
            return "pipe"
        found = _SCHEME.match(self.place)
        return found[1].lower() if found else "file"

    @property
    def may_return(self) -> bool:
        """Whether it may be there again after a connection has ended.

        A publisher and a camera may be, whatever they say at the end. What http sends may be a file, which would begin
        again.
        """
        return self.return_s > 0 and self.format != "lavfi" and self.scheme in _RETURNING

    @property
    def path(self) -> str:
        """Of a file."""
        return self.place.removeprefix("file://")

    @property
    def shown(self) -> str:
        """The place as it may be told: without a password, a query, which may hold one, and the key of RTMP."""
        if self.format == "lavfi":
            return f"the test source {self.place[:_SHOWN_MAX]}"
        if self.scheme in ("file", "pipe"):
            return "the standard input" if self.place == "-" else Path(self.place).name or self.place
        parts = urlsplit(self.place)
        path = parts.path.rpartition("/")[0] if self.scheme == "rtmp" else parts.path
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"

    def check(self) -> None:
        """Raises InputError for what cannot be a source."""
        try:
            _ = self.shown
        except ValueError as error:
            raise InputError(f"{self.place!r} is no address: {error}.") from error
        if self.format is None and self.scheme not in PROTOCOLS:
            hint = " For SRT, let a relay such as MediaMTX take it, and read that by RTSP." * (self.scheme == "srt")
            raise InputError(f"{self.scheme}:// is no source that can be taken; known: {', '.join(PROTOCOLS)}.{hint}")
        if self.listen and self.scheme != "rtmp":
            raise InputError("--listen waits for a publisher at an address such as rtmp://0.0.0.0:1935/app/key.")
        if self.format is None and self.scheme == "file" and not Path(self.path).exists():
            raise MediaError(f"There is no file {self.place}; give a file, or an address such as rtsp://HOST/PATH.")

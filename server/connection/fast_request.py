"""Reading the two requests of a playing viewer: the next decided segment, and a media file of a title.

A request is read here when it comes whole, plainly asked and alone. Whatever looks unusual (a range, a condition, a
body, a pipeline, an odd character) is left to aiohttp, which knows all of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

import msgspec

from abr.protocols import cmcd

HEAD_BYTES_MAX = 8192

_REQUEST = re.compile(
    rb"GET (?:/titles/([A-Za-z0-9][A-Za-z0-9._-]{0,63})/(?:v-([0-9a-f]{16})/)?"
    rb"((?:video|audio|enhancers)/[A-Za-z0-9._/-]{1,200})"
    rb"|/sessions/([A-Za-z0-9_-]{1,264})/video/([1-9][0-9]{0,7})\.m4s(?:\?CMCD=([!-\"$%'-~]{0,4096}))?) HTTP/1\.1\r\n"
)
_FIELDS = re.compile(rb"(?:[A-Za-z0-9!#$%&'*+.^_`|~-]+:[\t\x20-\x7e]*\r\n)+\r\n")
_UNUSUAL = re.compile(
    rb"\n(?:accept:[ \t]*application/json|range|if-|content-|transfer-|expect|upgrade|te:|trailer"
    rb"|connection:(?![ \t]*keep-alive[ \t]*\r))",
    re.I,
)
_NAMES = {name.lower().encode(): name for name in cmcd.HEADERS}
_ACCEL = re.compile(rb"\nx-accel-location:[ \t]*(/[A-Za-z0-9._-]{1,64}/)[ \t]*\r", re.I)
"""A reverse proxy's own header: where it has the library, to send files from by itself (nginx's X-Accel-Redirect)."""
_CMCD = re.compile(rb"\n(cmcd-(?:object|request|session|status)):[ \t]*([^\r\n]*)", re.I)


class FastRequest(msgspec.Struct, frozen=True):
    """One request: a file of a title, or a segment of a session to be decided, with its CMCD."""

    title: str = ""
    version: str = ""
    """Of the title's media, if the URL names one."""
    file: str = ""
    session: str = ""
    segment: int = 0
    query: str | None = None
    headers: Mapping[str, str] | None = None
    location: str = ""
    """Where the proxy that asks has the library, if it says so."""


def read_fast_request(data: bytes) -> FastRequest | None:
    """The request that `data` is, when it is one of the two and nothing else."""
    if len(data) > HEAD_BYTES_MAX or data.find(b"\r\n\r\n") != len(data) - 4:
        return None
    request = _REQUEST.match(data)
    if request is None or not _FIELDS.fullmatch(data, request.end()) or _UNUSUAL.search(data):
        return None
    title, version, file, session, number, query = request.groups()
    accel = _ACCEL.search(data)
    location = accel[1].decode() if accel else ""
    if title is not None:
        return FastRequest(
            title=title.decode(), version=(version or b"").decode(), file=file.decode(), location=location
        )
    fields = _CMCD.findall(data, request.end() - 1)
    headers = {_NAMES[name.lower()]: value.decode() for name, value in fields}
    if len(headers) != len(fields):
        return None
    return FastRequest(
        session=session.decode(),
        segment=int(number) - 1,
        query=None if query is None else unquote_plus(query.decode()),
        headers=headers,
        location=location,
    )

"""The fast lane: a playing viewer's requests, answered as soon as their bytes are there.

Two kinds of request make up nearly all of a viewer's: the next decided segment and a media file of a title. When one
comes whole, plainly asked and alone, it is read here with three regular expressions, decided by the same desk, and
sent by sendfile. Whatever looks unusual (a range, a condition, a body, a pipeline, an odd character) and whatever goes
wrong before the first byte is sent goes to aiohttp, which knows all of HTTP: no error answer is written here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from urllib.parse import unquote_plus

import msgspec

from abr import cmcd
from abr.media import segment_file
from server import decisions
from server.context import Context
from server.decisions import Taken
from server.line import Descriptor, Line
from server.media import MediaFile
from server.middleware import count, fixed_headers
from server.together import Together
from server.viewers import hear_keys

HEAD_BYTES_MAX = 8192

_REQUEST = re.compile(
    rb"GET (?:/titles/([A-Za-z0-9][A-Za-z0-9._-]{0,63})/((?:video|audio|enhancers)/[A-Za-z0-9._/-]{1,200})"
    rb"|/sessions/([A-Za-z0-9_-]{1,256})/video/([1-9][0-9]{0,7})\.m4s(?:\?CMCD=([^&# ]{0,4096}))?) HTTP/1\.1\r\n"
)
_FIELDS = re.compile(rb"(?:[A-Za-z0-9!#$%&'*+.^_`|~-]+:[\t\x20-\x7e]*\r\n)+\r\n")
_UNUSUAL = re.compile(
    rb"\n(?:range|if-|content-|transfer-|expect|upgrade|te:|trailer|connection:(?![ \t]*keep-alive[ \t]*\r))", re.I
)
_NAMES = {name.lower().encode(): name for name in cmcd.HEADERS}
_ACCEL = re.compile(rb"\nx-accel-location:[ \t]*(/[A-Za-z0-9._-]{1,64}/)[ \t]*\r", re.I)
"""A reverse proxy's own header: where it has the library, to send files from by itself (nginx's X-Accel-Redirect)."""
_CMCD = re.compile(rb"\n(cmcd-(?:object|request|session|status)):[ \t]*([^\r\n]*)", re.I)


class Asked(msgspec.Struct, frozen=True):
    """One request: a file of a title, or a segment of a session to be decided, with what it tells in CMCD."""

    title: str = ""
    file: str = ""
    session: str = ""
    segment: int = 0
    query: str | None = None
    headers: Mapping[str, str] | None = None
    location: str = ""
    """Where the proxy that asks has the library, if it says so."""


def read(data: bytes) -> Asked | None:
    """The request that `data` is, when it is one of ours and nothing else."""
    if len(data) > HEAD_BYTES_MAX or data.find(b"\r\n\r\n") != len(data) - 4:
        return None
    request = _REQUEST.match(data)
    if request is None or not _FIELDS.fullmatch(data, request.end()) or _UNUSUAL.search(data):
        return None
    title, file, session, number, query = request.groups()
    accel = _ACCEL.search(data)
    location = accel[1].decode() if accel else ""
    if title is not None:
        return Asked(title=title.decode(), file=file.decode(), location=location)
    told = _CMCD.findall(data, request.end() - 1)
    headers = {_NAMES[name.lower()]: value.decode() for name, value in told}
    if len(headers) != len(told):
        return None
    return Asked(
        session=session.decode(),
        segment=int(number) - 1,
        query=None if query is None else unquote_plus(query.decode()),
        headers=headers,
        location=location,
    )


class Lane:
    """Answers what `read` understood. `answer` raises, before it has sent anything, for all that aiohttp must say."""

    def __init__(self, use: Context) -> None:
        self._use = use
        fixed = fixed_headers(use.settings.allow_origin)
        self._fixed = "".join(f"\r\n{name}: {value}" for name, value in fixed.items())
        self._dated = (0, "")
        self._writing = Together(_write)

    async def answer(self, asked: Asked, line: Line) -> None:
        started_s = time.perf_counter()
        if asked.session:
            size_bytes = await self._segment(asked, line)
            count(self._use, "GET", "getSessionSegment", 200, size_bytes, time.perf_counter() - started_s)
        else:
            size_bytes = await self._file(asked, line)
            count(self._use, "GET", "getTitleFile", 200, size_bytes, time.perf_counter() - started_s)

    async def _file(self, asked: Asked, line: Line) -> int:
        file = await self._use.shelf.settled(asked.title, asked.file)
        more = f"\r\nCache-Control: {file.cache_control}"
        if asked.location and line.trusted:
            await self._refer(f"{asked.location}{asked.title}/{asked.file}", file, more, line)
        else:
            head, body = await self._whole(file, more)
            await line.send(head, body, file.size_bytes)
        if asked.file.startswith("enhancers/"):
            self._use.telemetry.weights_bytes.inc(file.size_bytes)
        return file.size_bytes

    async def _segment(self, asked: Asked, line: Line) -> int:
        use = self._use
        heard = hear_keys(asked.headers or {}, asked.query)
        if heard.fault:
            use.telemetry.cmcd_faults.inc()
        before = None if heard.tells_throughput else line.delivery(asked.session)
        taken = await use.desk.choose(asked.session, asked.segment, heard, before)
        relative = f"video/{taken.rendition}/{segment_file(asked.segment)}"
        file = await use.shelf.settled(taken.state.title, relative)
        if asked.location and line.trusted and heard.tells_throughput:
            await self._refer(f"{asked.location}{taken.state.title}/{relative}", file, _decision(taken), line)
            return file.size_bytes
        head, body = await self._whole(file, _decision(taken))
        if not isinstance(body, bytes):
            await line.send(head, body, file.size_bytes)
        elif error := await self._writing.ask((line, head, body)):
            raise error
        line.note(asked.session, file.size_bytes)
        return file.size_bytes

    async def _refer(self, where: str, file: MediaFile, more: str, line: Line) -> None:
        """Lets the proxy send the file. Not to viewers who tell nothing: our own sends are all we know of those."""
        head = (
            f"HTTP/1.1 200 OK{self._fixed}{self._date()}\r\nX-Accel-Redirect: {where}"
            f"\r\nContent-Type: {file.content_type}\r\nContent-Length: 0{more}\r\n\r\n"
        )
        await line.send(head.encode("ascii"), b"", 0)

    async def _whole(self, file: MediaFile, more: str) -> tuple[bytes, bytes | Descriptor]:
        """Head and body of the answer."""
        shelf = self._use.shelf
        body = shelf.at_hand(file) or await shelf.fetch(file)
        return f"HTTP/1.1 200 OK{self._fixed}{self._date()}{file.head}{more}\r\n\r\n".encode("ascii"), body

    def _date(self) -> str:
        now_s = int(time.time())
        if self._dated[0] != now_s:
            self._dated = now_s, f"\r\nDate: {formatdate(now_s, usegmt=True)}"
        return self._dated[1]


def _write(answers: Sequence[tuple[Line, bytes, bytes]]) -> list[OSError | None]:
    """One after the other: what each met, if anything."""
    return [_write_one(*answer) for answer in answers]


def _write_one(line: Line, head: bytes, body: bytes) -> OSError | None:
    try:
        line.write(head, body)
    except OSError as error:
        return error
    return None


def _decision(taken: Taken) -> str:
    return "".join([f"\r\n{name}: {value}" for name, value in decisions.headers(taken).items()])

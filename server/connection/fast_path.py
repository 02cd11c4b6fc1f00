"""Answers to a playing viewer's requests, as soon as their bytes are there (see the package)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate

from abr.core.title import segment_file
from server.concurrency.batcher import TurnBatcher
from server.connection.fast_request import FastRequest
from server.connection.socket_writer import SocketWriter
from server.context import Context
from server.http.decision_headers import decision_headers, redirect_decision_headers
from server.http.middleware import fixed_headers, redirect_headers
from server.media.descriptor import OpenFile
from server.media.media_file import MediaFile
from server.media.versions import cdn_media_url
from server.session_service import SegmentQuery
from server.sessions.decisions import SegmentDecision
from server.sessions.observation import read_hints_from_keys

Answer = tuple[SocketWriter, bytes, bytes]
"""Where to, head and body."""


class FastPath:
    """Answers what `read_fast_request` understood.

    `answer` raises, before it has sent anything, for all that aiohttp must say: no error answer is written here.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._media_base = context.settings.media_base
        self._accel_location = context.settings.accel_location
        self._fixed = _lines(fixed_headers(context.settings))
        self._fixed_of_redirects = _lines(redirect_headers(context.settings))
        self._dated = (0, "")
        self._sends: TurnBatcher[Answer, OSError | None] = TurnBatcher(_send_each)

    async def answer(self, request: FastRequest, writer: SocketWriter) -> None:
        """Answer with the whole of it, or with where it is, or raise."""
        started_s = time.perf_counter()
        if request.session:
            route, (status, size_bytes) = "getSessionSegment", await self._send_segment(request, writer)
        else:
            route, status, size_bytes = "getTitleFile", 200, await self._send_file(request, writer)
        self._context.metrics.count_answer("GET", route, status, size_bytes, time.perf_counter() - started_s)

    async def _send_file(self, request: FastRequest, writer: SocketWriter) -> int:
        file = await self._context.title_cache.media_file(request.title, request.file, request.version)
        more = f"\r\nCache-Control: {file.cache_control}"
        if self._accel_location and await self._proxy_sends(request, writer, file):
            await self._redirect(f"{self._accel_location}{file.location}", file, more, writer)
        else:
            head, body = await self._head_and_body(file, more)
            await writer.send(head, body, file.size_bytes)
        if request.file.startswith("enhancers/"):
            self._context.metrics.weights_bytes.inc(file.size_bytes)
        return file.size_bytes

    async def _send_segment(self, request: FastRequest, writer: SocketWriter) -> tuple[int, int]:
        """The status and the bytes of the body."""
        context = self._context
        hints = read_hints_from_keys(request.headers or {}, request.query)
        if hints.fault:
            context.metrics.cmcd_faults.inc()
        delivery = None if hints.tells_throughput else writer.take_delivery(request.session)
        decided = await context.sessions.decide(request.session, SegmentQuery(request.segment, hints, delivery))
        relative = f"video/{decided.rendition}/{segment_file(request.segment)}"
        state = decided.state
        file = await context.title_cache.media_file(state.title, relative, state.version, live=state.live)
        elsewhere = cdn_media_url(self._media_base, state.title, state.version, relative)
        if elsewhere and hints.tells_throughput:
            await self._lead(elsewhere, decided, writer)
            return 307, 0
        if self._accel_location and hints.tells_throughput and await self._proxy_sends(request, writer, file):
            await self._redirect(f"{self._accel_location}{file.location}", file, _decision_lines(decided), writer)
            return 200, file.size_bytes
        head, body = await self._head_and_body(file, _decision_lines(decided))
        if not isinstance(body, bytes):
            await writer.send(head, body, file.size_bytes)
        else:
            await self._write((writer, head, body))
        writer.note_segment(request.session, file.size_bytes)
        return 200, file.size_bytes

    async def _lead(self, where: str, decided: SegmentDecision, writer: SocketWriter) -> None:
        """Tells where the bytes are. Not to viewers who tell nothing, as `_redirect`."""
        head = (
            f"HTTP/1.1 307 Temporary Redirect{self._fixed_of_redirects}{self._date()}\r\nLocation: {where}"
            f"\r\nContent-Length: 0{_lines(redirect_decision_headers(decided))}\r\n\r\n"
        )
        await self._write((writer, head.encode("ascii"), b""))

    async def _write(self, answer: Answer) -> None:
        if error := await self._sends.submit(answer):
            raise error

    async def _proxy_sends(self, request: FastRequest, writer: SocketWriter, file: MediaFile) -> bool:
        """Whether who asks is our proxy, has the library where the settings say, and would find this very file."""
        if not writer.is_trusted or request.location != self._accel_location:
            return False
        return await self._context.title_cache.is_in_place(file)

    async def _redirect(self, where: str, file: MediaFile, more: str, writer: SocketWriter) -> None:
        """Lets the proxy send the file. Not to viewers who tell nothing: our own sends are all we know of those."""
        head = (
            f"HTTP/1.1 200 OK{self._fixed}{self._date()}\r\nX-Accel-Redirect: {where}"
            f"\r\nContent-Type: {file.content_type}\r\nContent-Length: 0{more}\r\n\r\n"
        )
        await writer.send(head.encode("ascii"), b"", 0)

    async def _head_and_body(self, file: MediaFile, more: str) -> tuple[bytes, bytes | OpenFile]:
        title_cache = self._context.title_cache
        body = title_cache.cached_body(file) or await title_cache.open_body(file)
        return f"HTTP/1.1 200 OK{self._fixed}{self._date()}{file.head}{more}\r\n\r\n".encode("ascii"), body

    def _date(self) -> str:
        now_s = int(time.time())
        if self._dated[0] != now_s:
            self._dated = now_s, f"\r\nDate: {formatdate(now_s, usegmt=True)}"
        return self._dated[1]


def _send_each(answers: Sequence[Answer]) -> list[OSError | None]:
    """One right after the other: what each met, if anything."""
    return [_send(*answer) for answer in answers]


def _send(writer: SocketWriter, head: bytes, body: bytes) -> OSError | None:
    try:
        writer.write(head, body)
    except OSError as error:
        return error
    return None


def _decision_lines(decided: SegmentDecision) -> str:
    return _lines(decision_headers(decided))


def _lines(headers: Mapping[str, str]) -> str:
    """Each after its line end."""
    return "".join([f"\r\n{name}: {value}" for name, value in headers.items()])
